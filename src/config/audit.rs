//! The section `[audit]`.

use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::effects::appender::{Appender, Destination, open_file};
use crate::service::audit;

/// The audit log: who did what, when, as lines of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// A file that lines are appended to, for its owner alone; `-` for standard output, which with commands is standard error. Empty: off.
    /// A file that is moved away is made anew at the next line.
    pub path: String,
}

impl Audit {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.destination() {
            Some(Destination::File(path)) => open_file(&path).map(drop).map_err(|error| wrong(&error)),
            _ => Ok(()),
        }
    }

    /// What writes it, if it is on. `lost` counts the lines that could not be written.
    pub fn appender(&self, lost: Counter) -> Result<Option<Appender>, ConfigError> {
        self.destination()
            .map(|destination| Appender::open(&destination, lost))
            .transpose()
            .map_err(|error| wrong(&error))
    }

    fn destination(&self) -> Option<Destination> {
        match self.path.as_str() {
            "" => None,
            "-" if audit::is_command() => Some(Destination::StandardError),
            "-" => Some(Destination::StandardOutput),
            path => Some(Destination::File(path.into())),
        }
    }
}

fn wrong(error: &std::io::Error) -> ConfigError {
    ConfigError::new("audit.path", &format!("this cannot be opened for appending: {error}"))
}
