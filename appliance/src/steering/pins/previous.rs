//! What a previous process left in the folder, and whether this version can take it over.

use aya::maps::{Array, Map, MapData, MapInfo};
use synward_core::layout::{Globals, SCHEMA};

use super::super::error::{SteeringError, cause, errno};
use super::{Pins, RECORD, failed, replace};
use crate::maps::{EndpointMap, Plain};

/// What a previous process left.
#[derive(Debug)]
pub(in crate::steering) struct Previous {
    pub(in crate::steering) globals: Globals,
    /// The profiles that it learned.
    pub(in crate::steering) endpoints: Option<EndpointMap>,
}

impl Pins {
    /// Reads what a previous process left; `None`: it is absent or incomplete. An error if its schema differs, or if one of
    /// the maps in `kept` has another number of entries than given.
    pub(in crate::steering) fn previous(
        &self,
        kept: &[(&str, u32)],
    ) -> Result<Option<Previous>, SteeringError> {
        if !self.folder.join(RECORD).exists() {
            return Ok(None);
        }
        self.check_schema()?;
        for (name, entries) in kept {
            let path = self.map(name);
            if !path.exists() {
                return Ok(None);
            }
            let found = MapInfo::from_pin(&path).map_err(|error| failed(&path, &error))?;
            if found.max_entries() != *entries {
                return Err(SteeringError::Size {
                    pin: self.folder.clone(),
                    found: found.max_entries(),
                    ours: *entries,
                });
            }
        }
        let globals = self
            .open_map("GLOBALS")
            .and_then(|map| Array::<_, Plain<Globals>>::try_from(Map::Array(map)).ok());
        let Some(Ok(Plain(globals))) = globals.map(|globals| globals.get(&0, 0)) else {
            return Ok(None);
        };
        let endpoints = self
            .open_map("ENDPOINTS")
            .and_then(|map| EndpointMap::try_from(Map::HashMap(map)).ok());
        Ok(Some(Previous { globals, endpoints }))
    }

    /// Whether a process of this version could take over what is pinned, as far as its schema tells; true if there is none.
    ///
    /// # Errors
    /// The schema may not be read.
    pub(in crate::steering) fn is_compatible(&self) -> Result<bool, SteeringError> {
        if !self.folder.join(RECORD).exists() {
            return Ok(true);
        }
        match self.check_schema() {
            Ok(()) => Ok(true),
            Err(SteeringError::Schema { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn check_schema(&self) -> Result<(), SteeringError> {
        let path = self.folder.join(RECORD);
        let record = MapData::from_pin(&path)
            .and_then(|map| Array::<_, u32>::try_from(Map::from_map_data(map)?));
        let found = match record.and_then(|record| record.get(&0, 0)) {
            Ok(SCHEMA) => return Ok(()),
            Ok(other) => other.to_string(),
            Err(error) if errno(&error) == Some(libc::EPERM) => return Err(failed(&path, &error)),
            Err(error) => cause(&error),
        };
        Err(SteeringError::Schema {
            pin: self.folder.clone(),
            found,
            ours: SCHEMA,
        })
    }

    /// Pins the version of the map layout again if it is missing. Returns whether it was.
    pub(in crate::steering) fn restore_schema(&self) -> Result<bool, SteeringError> {
        let is_missing = !self.folder.join(RECORD).exists();
        if is_missing {
            self.record_schema()?;
        }
        Ok(is_missing)
    }

    /// Pins the version of the map layout. It is pinned before all else.
    pub(in crate::steering) fn record_schema(&self) -> Result<(), SteeringError> {
        let path = self.folder.join(RECORD);
        let refused = |error: &(dyn std::error::Error + 'static)| failed(&path, error);
        let mut record = Array::<MapData, u32>::create(1, 0).map_err(|error| refused(&error))?;
        record.set(0, SCHEMA, 0).map_err(|error| refused(&error))?;
        replace(&path, |draft| record.pin(draft))
    }

    fn open_map(&self, name: &str) -> Option<MapData> {
        MapData::from_pin(self.map(name)).ok()
    }
}
