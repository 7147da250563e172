use std::path::Path;

use super::{Failure, print};

/// Looks for faults in the configuration in `file`.
pub(super) fn run(file: &Path, effective: bool, json: bool) -> Result<(), Failure> {
    match config::load(file) {
        Ok(loaded) => {
            // What the configuration names is read, too: a pack with a fault keeps `serve` from starting.
            if let Err(message) = crate::guard::inspector(&loaded.config.guard) {
                if json {
                    let fault = serde_json::json!({
                        "file": file, "line": 0, "column": 0, "path": "guard.packs", "message": message,
                    });
                    let faults = [fault];
                    print(&format!(
                        "{}\n",
                        serde_json::json!({ "valid": false, "faults": faults })
                    ));
                    return Err(Failure::Usage(String::new()));
                }
                return Err(Failure::Usage(format!("guard.packs: {message}")));
            }
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
