//! Where the shared key is kept on the client's side.
//!
//! Not who writes it: `ganger-broker` does, at the same default place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_shared::key::Key;

use crate::error::Error;

/// Where the key is looked for unless told otherwise: `$XDG_CONFIG_HOME/ganger/key`, else
/// `$HOME/.config/ganger/key`, else `ganger/key` below the current directory.
///
/// ```
/// assert!(ganger_worker::key_file::default_path().ends_with("ganger/key"));
/// ```
#[must_use]
pub fn default_path() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".config")))
        .unwrap_or_default()
        .join("ganger")
        .join("key")
}

/// Reads the key that clients use: the first one of the file.
///
/// # Errors
/// [`Error::KeyFile`] if it cannot be read, [`Error::KeyFileContent`] if it holds something else.
pub fn read(path: &Path) -> Result<Key, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::KeyFile { path: path.to_owned(), source: Arc::new(error) })?;
    let content = |line| Error::KeyFileContent { path: path.to_owned(), line };
    let keys = Key::parse_file(&text).map_err(content)?;
    keys.into_iter().next().ok_or_else(|| content(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_key_of_the_file_is_read_and_a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (first, second) = (Key::generate().unwrap(), Key::generate().unwrap());
        std::fs::write(&path, format!("# old last\n{}\n{}\n", first.to_text(), second.to_text()))
            .unwrap();
        assert_eq!(read(&path).unwrap(), first);

        std::fs::write(&path, "secret\n").unwrap();
        assert!(matches!(read(&path), Err(Error::KeyFileContent { line: 1, .. })));
        assert!(matches!(read(&folder.path().join("none")), Err(Error::KeyFile { .. })));
    }
}
