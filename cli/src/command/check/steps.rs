//! The kinds of steps that `--steps` names.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{CliError, read_file};

/// The steps named.
pub(super) fn known(given: &str) -> Result<BTreeSet<String>, CliError> {
    let mut all = BTreeSet::new();
    for part in given.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let path = Path::new(part);
        if path.is_file() {
            all.extend(listed(&read_file(path)?));
        } else if part.contains(['/', '\\']) {
            return Err(CliError::usage(
                format!("there is no file {part}"),
                "name a file with one kind of step in each line, or the kinds themselves: `--steps charge,ship`",
            ));
        } else {
            all.insert(part.to_owned());
        }
    }
    Ok(all)
}

/// One or more names in each line; what follows a `#` is a comment.
fn listed(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let names = lines.flat_map(|line| line.split([',', ' ', '\t', '\r']));
    names.filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_line_and_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("steps.txt");
        std::fs::write(&file, "charge # takes money\n\n# more\nship, pack\n").unwrap();
        let all = known(&format!("greet,{}", file.display())).unwrap();
        for kind in ["charge", "ship", "pack", "greet"] {
            assert!(all.contains(kind), "{kind} in {all:?}");
        }
        assert!(!all.contains("more"));
        assert!(known("no/such/file").is_err());
    }
}
