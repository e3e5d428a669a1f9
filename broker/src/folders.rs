//! Where a user's files are if nobody names a place, after the XDG Base Directory Specification.

use std::ffi::OsString;
use std::path::PathBuf;

/// For what the user decides: `ganger` in `$XDG_CONFIG_HOME` or `~/.config`.
pub(crate) fn config(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    of(variable, "XDG_CONFIG_HOME", ".config")
}

/// For what must be kept: `ganger` in `$XDG_DATA_HOME` or `~/.local/share`.
pub(crate) fn data(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    of(variable, "XDG_DATA_HOME", ".local/share")
}

/// An empty variable counts as none.
fn of(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder(name).or_else(|| folder("HOME").map(|home| home.join(below_home)));
    folder.map(|folder| folder.join("ganger"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_below_their_variable_or_below_home() {
        let env = |vars: &'static [(&str, &str)]| {
            move |name: &str| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            }
        };
        let both = env(&[("XDG_CONFIG_HOME", "/x"), ("XDG_DATA_HOME", "/y"), ("HOME", "/h")]);
        assert_eq!(config(both), Some("/x/ganger".into()));
        assert_eq!(data(both), Some("/y/ganger".into()));
        let home = env(&[("XDG_CONFIG_HOME", ""), ("HOME", "/h")]);
        assert_eq!(config(home), Some("/h/.config/ganger".into()));
        assert_eq!(data(home), Some("/h/.local/share/ganger".into()));
        assert_eq!(data(env(&[])), None);
    }
}
