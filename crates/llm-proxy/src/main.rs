//! The llm-proxy binary: command line, configuration, composition.

mod accounting;
mod commands;
mod compose;
mod guard;
mod oidc;
mod process;
mod routing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main()
}
