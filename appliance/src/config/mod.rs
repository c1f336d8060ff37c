//! Parses the configuration file (TOML) into a typed [`Config`], or reports every problem with its line.
//!
//! `known_keys` lists every key, `section_reader` reads values from the parsed TOML, and each section has a file that
//! turns its values into types that hold valid values only. No later stage checks the configuration again.

#![forbid(unsafe_code)]

mod activation_settings;
mod appliance_section;
mod chaining;
mod choice;
pub mod config_facts;
mod config_report;
mod cookie_section;
mod difference_text;
mod endpoint_conflicts;
mod flows_section;
mod interface_section;
mod known_keys;
pub mod limits;
mod prefix_file;
mod prefix_text;
mod restart_rules;
mod section_reader;
mod service_section;
mod service_settings;
mod suggestions;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::problem::Fault;
pub use crate::problem::{Problem, Problems};
use crate::regular_file::{self, FileError};
pub use appliance_section::{Appliance, Cores, DEFAULT_CONTROL, Polling, Responder};
pub use choice::Choice;
pub use cookie_section::{Cookie, DEFAULT_SECRET, SecretContent};
pub use flows_section::Flows;
pub use interface_section::{Attach, Interface, Queues, Side, XdpMode, ZeroCopy};
pub use prefix_file::PrefixFile;
pub use prefix_text::parse_listed_prefix;
pub use restart_rules::Abilities;
pub use service_settings::{
    Activation, Cookies, Fragments, Handoff, Mode, Offer, PlainCookies, Ports, Rtt, Service,
    Standing, Unknown, WhenAbsent, WhenDown,
};

use config_report::ConfigReport;
use cookie_section::ReadSecret;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was loaded from, as the caller named it.
    pub file: PathBuf,
    /// The process: sockets, threads, pinned objects.
    pub appliance: Appliance,
    /// The secret file.
    pub cookie: Cookie,
    /// 1 to 32 interfaces; at least one faces clients.
    pub interfaces: Vec<Interface>,
    /// 1 to 1024 services.
    pub services: Vec<Service>,
    /// The flow table.
    pub flows: Flows,
    /// Settings that are valid but probably not intended.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Loads the configuration file, and the secret file if it exists.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let text = read(file)?;
        Self::parse(file, &text, Path::new(DEFAULT_SECRET))
    }

    /// Loads the configuration file without its secret, which only the owner may read. For commands that need no keys.
    ///
    /// # Errors
    /// The problems of the file.
    pub fn load_without_secret(file: &Path) -> Result<Self, Problems> {
        let text = read(file)?;
        Self::parse_with(file, &text, Path::new(DEFAULT_SECRET), ReadSecret::No)
    }

    /// A valid configuration file that shows every key with its default and meaning.
    pub fn example() -> String {
        known_keys::example()
    }

    /// A valid configuration whose secret file does not exist.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub(crate) fn of_text(text: &str) -> Self {
        Self::parse(Path::new("f.toml"), text, Path::new("/nonexistent/secret")).unwrap()
    }

    fn parse(file: &Path, text: &str, default_secret: &Path) -> Result<Self, Problems> {
        Self::parse_with(file, text, default_secret, ReadSecret::Yes)
    }

    fn parse_with(
        file: &Path,
        text: &str,
        default_secret: &Path,
        read_secret: ReadSecret,
    ) -> Result<Self, Problems> {
        let report = ConfigReport::new(file, text);
        let root = DeTable::parse(text).map_err(|error| syntax(file, text, &report, &error))?;
        let sections = section_reader::read_sections(root.get_ref(), &report);
        let one = |name| sections.get(name).and_then(|tables| tables.first());
        let many = |name| sections.get(name).map_or(&[][..], Vec::as_slice);

        let appliance = one("appliance").map(Appliance::read).unwrap_or_default();
        let interfaces = Interface::read_all(many("interface"));
        let services = Service::read_all(many("service"));
        let flows = one("flows").map(Flows::read).unwrap_or_default();
        let cookie = Cookie::read(
            one("cookie"),
            &services,
            default_secret,
            read_secret,
            &report,
        );

        if !sections.contains_key("interface") {
            report.problem(
                1,
                "no [[interface]]; add one with name = \"eth0\" and side = \"both\"",
            );
        }
        if !sections.contains_key("service") {
            report.problem(1, "no [[service]]; add one with name = \"web\", addresses = [\"192.0.2.10\"] and ports = [80, 443]");
        }
        chaining::check(&appliance, &interfaces, &report);
        check_sides(many("interface").len(), &interfaces, &services, &report);

        let warnings = report.finish()?;
        Ok(Self {
            file: file.to_owned(),
            appliance,
            cookie,
            interfaces,
            services,
            flows,
            warnings,
        })
    }
}

/// A one-line summary.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (services, interfaces) = (self.services.len(), self.interfaces.len());
        write!(
            f,
            "{}: valid, {services} service{}, ",
            self.file.display(),
            plural(services)
        )?;
        write!(f, "{interfaces} interface{}", plural(interfaces))
    }
}

/// Requires an interface that faces clients, and warns if no interface faces the server of a spliced service. `written`
/// is the number of interface sections in the file. If one of them could not be read, its side is unknown and nothing is
/// checked.
fn check_sides(
    written: usize,
    interfaces: &[Interface],
    services: &[Service],
    report: &ConfigReport,
) {
    let Some(first) = interfaces.first().filter(|_| interfaces.len() == written) else {
        return;
    };
    if !interfaces
        .iter()
        .any(|interface| interface.side.faces_clients())
    {
        report.problem(
            first.line,
            "no interface faces clients; set side = \"outside\" or \"both\" on one",
        );
    }
    let spliced = services
        .iter()
        .find(|service| service.handoff == Handoff::Splice);
    if let Some(service) = spliced.filter(|_| {
        !interfaces
            .iter()
            .any(|interface| interface.side.faces_servers())
    }) {
        report.warning(
            first.line,
            format!(
                "service \"{}\" is spliced, but no interface faces its server; add the one with side = \"inside\", or set side = \
                \"both\"",
                service.name
            ),
        );
    }
}

/// Reads the file as text, at most [`limits::FILE`] bytes of it.
fn read(file: &Path) -> Result<String, Problem> {
    let cannot = |error: FileError| {
        let what = match &error {
            FileError::Io(error) if error.kind() == ErrorKind::NotFound => Fault::Absent,
            FileError::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
                Fault::Unreadable(None)
            }
            error => error.to_string().into(),
        };
        Problem::of(file, what)
    };
    let bytes = regular_file::read(file, limits::FILE).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Problem::at(
            file,
            line,
            format!(
                "byte 0x{:02x} is not UTF-8; save the file as UTF-8 text",
                error.as_bytes()[valid]
            ),
        )
    })
}

/// The first syntax error.
fn syntax(file: &Path, text: &str, report: &ConfigReport, error: &toml::de::Error) -> Problems {
    let span = error.span().unwrap_or_default();
    let what = match (error.message(), text.get(span.clone())) {
        ("duplicate key", Some(key)) => {
            format!("`{}` appears twice; remove one", key.escape_debug())
        }
        (message, _) => format!("this is not TOML: {}", message.replace('\n', " ")),
    };
    Problem::at(file, report.line(span.start), what).into()
}
