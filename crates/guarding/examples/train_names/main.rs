//! Trains the chain that finds names of persons.
//!
//! `cargo run --release -p guarding --example train_names -- DATA` reads the labelled sets below
//! DATA that may be trained on, adds sentences of its own grammar and writes
//! `crates/guarding/weights/names.bin`. The same data gives the same weights.

// `measure_names` shares these and uses the rest of them.
#[allow(dead_code)]
mod data;
mod grammar;
#[allow(dead_code)]
mod templates;
mod train;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("give the folder of the labelled data")?;
    let folder = Path::new(&folder);
    let news = data::read(&folder.join("pii_factrueval2016_ru_devset.jsonl"))?;
    let english = data::read(&folder.join("pii_presidio_synth_en.jsonl"))?;
    let made = train::made(1);
    let bytes = train::train(&train::sets(&news, &english, &made), train::BIAS, 1);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/names.bin");
    std::fs::write(&file, bytes)?;
    println!("wrote {}", file.display());
    Ok(())
}
