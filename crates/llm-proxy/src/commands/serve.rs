use std::path::Path;

use super::Failure;
use crate::process::{self, Process};

/// Serves by the configuration in `file` until told to stop.
pub(super) fn run(file: &Path) -> Result<(), Failure> {
    let loaded = config::load(file).map_err(|faults| Failure::Usage(faults.to_string()))?;
    process::init_logs(&loaded.config).map_err(Failure::Usage)?;
    let runtime = process::runtime().map_err(Failure::Failed)?;
    let finished = runtime.block_on(async {
        let process = Process::start(loaded, file.to_owned()).await?;
        process.run().await
    });
    match finished.map_err(Failure::Failed)? {
        true => Ok(()),
        false => Err(Failure::Failed(
            "some requests had not finished when the drain timeout ended".to_owned(),
        )),
    }
}
