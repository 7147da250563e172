use std::path::Path;

use super::{Failure, print};

/// Looks for faults in the configuration in `file`.
pub(super) fn run(file: &Path, effective: bool, json: bool) -> Result<(), Failure> {
    match config::load(file) {
        Ok(loaded) => {
            if json {
                let config = effective.then(|| loaded.config.with_defaults());
                print(&format!("{}\n", serde_json::json!({ "valid": true, "effective": config })));
            } else if effective {
                print(&config::effective_yaml(&loaded.config));
            } else {
                print(&format!("{}: no faults\n", file.display()));
            }
            Ok(())
        }
        Err(faults) if json => {
            let list: Vec<_> = faults
                .faults
                .iter()
                .map(|fault| {
                    serde_json::json!({
                        "file": fault.file, "line": fault.line, "column": fault.column,
                        "path": fault.path, "message": fault.message,
                    })
                })
                .collect();
            print(&format!("{}\n", serde_json::json!({ "valid": false, "faults": list })));
            Err(Failure::Usage(String::new()))
        }
        Err(faults) => Err(Failure::Usage(faults.to_string())),
    }
}
