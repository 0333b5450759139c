//! Where the interpreters of scripts are.

use std::path::PathBuf;

use serde::Deserialize;

use crate::builtin::endpoint::wrong;
use crate::failure::Failure;

/// The languages of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    Js,
    Python,
}

impl Language {
    /// The file that the code is put into. JavaScript is read as a module.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Js => "script.mjs",
            Self::Python => "script.py",
        }
    }

    /// The interpreter on this machine.
    pub(super) fn interpreter(self) -> Result<PathBuf, Failure> {
        let names: &[&str] = match self {
            Self::Js => &["node"],
            Self::Python => &["python3", "python"],
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let found = names.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name))).find(|f| f.is_file());
        found.ok_or_else(|| {
            wrong(format!("`{}` is not on the PATH of this worker; install it in the workers of this pool", names[0]))
        })
    }
}
