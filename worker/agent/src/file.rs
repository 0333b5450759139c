//! Reading small files.

use std::path::Path;

use crate::limit;

/// The text of a file that keeps to the limit, or why it cannot be had.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > limit::FILE_BYTES_MAX {
        return Err(format!("it has {size} bytes, {} are allowed (FILE_BYTES_MAX)", limit::FILE_BYTES_MAX));
    }
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}
