//! The file of the slot map, which the proxies of a cluster share.

use anyhow::{Context, Result, bail};
use planner::WeightedShard;
use settings::Settings;
use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use topology::SlotMap;

/// The version of the first map.
const FIRST_VERSION: u64 = 1;

/// What became of a new map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// It is in the file.
    New,
    /// There is a file already: it is left as it is.
    There,
}

/// The map in the file; `None` if there is no file.
///
/// # Errors
/// A file that can't be read, or that doesn't fit the settings.
pub(crate) fn read(settings: &Settings) -> Result<Option<SlotMap>> {
    let path = &settings.map_file;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("the slot map {}", path.display())),
    };
    let map = settings::parse_slot_map(&text, &settings.shards)
        .with_context(|| format!("the slot map {}", path.display()))?;
    Ok(Some(map))
}

/// The map that the ring of shards proposes for a cluster that holds nothing.
///
/// # Errors
/// More shards than slots.
pub(crate) fn propose(settings: &Settings) -> Result<SlotMap> {
    let weighted = |shard: &settings::Shard| WeightedShard {
        shard: shard.id,
        weight: NonZeroU32::MIN,
    };
    let shards: Vec<WeightedShard> = settings.shards.iter().map(weighted).collect();
    Ok(planner::propose(&shards, FIRST_VERSION)?)
}

/// The map of the file, made where there is none. Of several who make it at once, one wins, and all go by its map.
///
/// # Errors
/// A file that can't be read or written, or that doesn't fit the settings.
pub(crate) fn read_or_make(settings: &Settings) -> Result<SlotMap> {
    if let Some(map) = read(settings)? {
        return Ok(map);
    }
    write_new(settings, &propose(settings)?)?;
    match read(settings)? {
        Some(map) => Ok(map),
        None => bail!(
            "the slot map {} is gone as soon as it is made",
            settings.map_file.display()
        ),
    }
}

/// Writes the file whole or not at all, and never replaces one.
///
/// # Errors
/// A folder that can't be written to.
pub(crate) fn write_new(settings: &Settings, map: &SlotMap) -> Result<Written> {
    let text = settings::print_slot_map(map, &settings.shards)?;
    let path = &settings.map_file;
    write_once(path, &text).with_context(|| format!("can't write the slot map {}", path.display()))
}

fn write_once(path: &Path, text: &str) -> io::Result<Written> {
    let draft = draft_of(path);
    let written = (|| {
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what is there.
        match fs::hard_link(&draft, path) {
            Ok(()) => Ok(Written::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Written::There),
            Err(error) => Err(error),
        }
    })();
    // The draft may not even have been made.
    let _ = fs::remove_file(&draft);
    written
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::{Written, propose, read, read_or_make, write_new, write_once};
    use crate::control::testing;

    #[test]
    fn a_map_is_made_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(&[1, 2]);
        settings.map_file = folder.path().join("slots.json");
        assert!(read(&settings).unwrap().is_none());
        let made = read_or_make(&settings).unwrap();
        assert_eq!(made, propose(&settings).unwrap());
        assert_eq!(write_new(&settings, &made).unwrap(), Written::There);
        assert_eq!(write_once(&settings.map_file, "other").unwrap(), Written::There);
        assert_eq!(read(&settings).unwrap(), Some(made));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn what_is_wrong_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(&[1]);
        settings.map_file = folder.path().join("slots.json");
        std::fs::write(&settings.map_file, "{}").unwrap();
        let error = format!("{:#}", read_or_make(&settings).unwrap_err());
        assert!(
            error.contains("slots.json") && error.contains("not a slot map"),
            "{error}"
        );
        settings.map_file = folder.path().join("nowhere/slots.json");
        let error = format!("{:#}", read_or_make(&settings).unwrap_err());
        assert!(error.contains("nowhere/slots.json"), "{error}");
    }
}
