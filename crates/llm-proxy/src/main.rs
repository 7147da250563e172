//! The llm-proxy binary: command line, configuration, composition.

mod commands;

fn main() -> std::process::ExitCode {
    commands::main()
}
