//! `[[service]]`: reads the settings of a service.

use std::collections::HashMap;

use ipnet::IpNet;

use super::activation_settings;
use super::endpoint_conflicts::EndpointOwners;
use super::limits;
use super::prefix_file::{Lines, PrefixFile};
use super::prefix_text;
use super::section_reader::{Table, Value};
use super::service_settings::{
    Cookies, Fragments, Handoff, Mode, Offer, PlainCookies, Ports, Rtt, Service, Standing, Unknown,
    WhenAbsent, WhenDown,
};
use crate::secret::{MAX_SERVICE_NAME, is_service_name};

impl Service {
    /// Reads the services in `tables`. One with a problem is left out.
    pub(super) fn read_all(tables: &[Table<'_>]) -> Vec<Self> {
        if let Some(table) = tables.get(limits::SERVICES) {
            table.problem(
                table.line,
                format!(
                    "service {} of {}; at most {} are possible: let one service have several addresses, or prefixes",
                    limits::SERVICES + 1,
                    tables.len(),
                    limits::SERVICES
                ),
            );
        }
        let mut names = HashMap::new();
        let mut owners = EndpointOwners::default();
        let services: Vec<_> = tables
            .iter()
            .filter_map(|table| Self::read(table, &mut names, &mut owners))
            .collect();
        let endpoints: usize = services.iter().map(Self::endpoints).sum();
        if let (Some(table), true) = (tables.last(), endpoints > limits::ENDPOINTS) {
            table.problem(
                table.line,
                format!(
                    "the services have {endpoints} endpoints (pairs of address and port); at most {} are possible: \
                     use prefixes, or ports = \"any\"",
                    limits::ENDPOINTS
                ),
            );
        }
        services
    }

    fn read(
        table: &Table<'_>,
        names: &mut HashMap<String, usize>,
        owners: &mut EndpointOwners,
    ) -> Option<Self> {
        let name = table.required("name").and_then(|value| name(&value, names));
        let addresses = table
            .required("addresses")
            .and_then(|value| addresses(&value));
        let ports = table.required("ports").and_then(|value| ports(&value));
        let deny = prefixes(table, "deny");
        let allow = prefixes(table, "allow");
        refuse_both(&allow, &deny);
        let (allow_file, deny_file) = (
            PrefixFile::read_key(table, "allow_file"),
            PrefixFile::read_key(table, "deny_file"),
        );
        refuse_both_in_files(table, (&allow, &allow_file), (&deny, &deny_file));
        let offer = offer(table, addresses.as_deref().unwrap_or_default());
        let handoff = table.choice_or("handoff", Handoff::Splice);
        require_wscale(table, handoff, &offer);
        let cookies = table.choice_or("cookies", Cookies::Auto);
        refuse_cookies(table, handoff, cookies);
        let plain_cookies = table.choice_or("plain_cookies", PlainCookies::Limit);
        refuse_no_client(table, plain_cookies, &offer);
        let replies_per_prefix = table.number_or("replies_per_prefix", limits::REPLIES, 1000);
        let hold_bytes = table.number_or("hold_bytes", limits::HOLD_BYTES, 16384);
        let openings =
            |key, default| u32::try_from(table.number_or(key, limits::OPENINGS, default)).ok();
        let service = Self {
            openings_per_source: openings("openings_per_source", 1024)?,
            openings_per_server: openings("openings_per_server", 4096)?,
            handoff,
            mode: table.choice_or("mode", Mode::Always),
            fragments: table.choice_or("fragments", Fragments::Drop),
            unknown: table.choice_or("unknown", Unknown::Drop),
            plain_cookies,
            when_down: table.choice_or("when_down", WhenDown::Reset),
            when_absent: table.choice_or("when_absent", WhenAbsent::Drop),
            rtt: table.choice_or("rtt", Rtt::Fast),
            hold_bytes: u32::try_from(hold_bytes).ok()?,
            replies_per_prefix: u32::try_from(replies_per_prefix).ok()?,
            cookies,
            activation: activation_settings::activation(table),
            on_event: activation_settings::on_event(table),
            offer,
            line: table.line,
            standing: Standing::Configured,
            name: name?,
            addresses: addresses.iter().flatten().map(|(_, net)| *net).collect(),
            ports: ports?,
            allow: allow.into_iter().map(|(_, net)| net).collect(),
            deny: deny.into_iter().map(|(_, net)| net).collect(),
            allow_file: allow_file.map_or_else(PrefixFile::default, Lines::into_file),
            deny_file: deny_file.map_or_else(PrefixFile::default, Lines::into_file),
        };
        for (value, net) in addresses? {
            owners.register(&value, net, &service.name, &service.ports);
        }
        Some(service)
    }
}

/// An element of a list, and the prefix that it holds.
type Listed<'a> = (Value<'a>, IpNet);

fn name(value: &Value<'_>, names: &mut HashMap<String, usize>) -> Option<String> {
    let cure = format!(
        "use 1 to {} characters of a-z, 0-9, _ and -",
        MAX_SERVICE_NAME
    );
    let name = value.text(&cure)?;
    if !is_service_name(name) {
        value.wrong(&cure);
        return None;
    }
    if let Some(line) = names.insert(name.to_owned(), value.line) {
        value.problem(format!(
            "service \"{name}\" already exists (line {line}); give each service a name of its own"
        ));
        return None;
    }
    Some(name.to_owned())
}

fn addresses<'a>(value: &Value<'a>) -> Option<Vec<Listed<'a>>> {
    let cure = r#"use a list of addresses and prefixes, such as ["192.0.2.10", "198.51.100.0/24"]"#;
    let elements = value.list(limits::ADDRESSES, cure)?;
    if elements.is_empty() {
        value.problem(format!("`addresses` is an empty list; {cure}"));
        return None;
    }
    nets(elements, cure, prefix_text::parse_unicast_prefix)
}

fn prefixes<'a>(table: &Table<'a>, key: &'static str) -> Vec<Listed<'a>> {
    let cure = r#"use a list of prefixes, such as ["203.0.113.0/24"]"#;
    let elements = table
        .value(key)
        .and_then(|value| value.list(limits::LISTED, cure));
    elements
        .and_then(|elements| nets(elements, cure, prefix_text::parse_listed_prefix))
        .unwrap_or_default()
}

/// Parses the elements; `None` if one of them is wrong.
fn nets<'a>(
    elements: Vec<Value<'a>>,
    cure: &str,
    parse: fn(&str) -> Result<IpNet, String>,
) -> Option<Vec<Listed<'a>>> {
    let count = elements.len();
    let mut nets: Vec<Listed<'a>> = Vec::with_capacity(count);
    for element in elements {
        match element.text(cure).map(parse) {
            Some(Ok(net)) if nets.iter().any(|(_, known)| *known == net) => element.twice(),
            Some(Ok(net)) => nets.push((element, net)),
            Some(Err(what)) => element.problem(what),
            None => {}
        }
    }
    (nets.len() == count).then_some(nets)
}

fn ports(value: &Value<'_>) -> Option<Ports> {
    let cure = r#"use a list of ports, such as [80, 443], or "any""#;
    let ports = value.word_or_numbers("any", limits::PORT, limits::PORTS, cure)?;
    Some(ports.map_or(Ports::Any, Ports::List))
}

/// Refuses a prefix that is in both `allow` and `deny`. Of different prefixes the longest wins.
fn refuse_both(allow: &[Listed<'_>], deny: &[Listed<'_>]) {
    for (value, net) in deny {
        if let Some((first, _)) = allow.iter().find(|(_, allowed)| allowed == net) {
            let shown = prefix_text::format_prefix(*net);
            value.problem(format!(
                "{shown} is in `allow` too (line {}); remove it from one of them",
                first.line
            ));
        }
    }
}

/// The same for the prefixes of the files. The problem is one of the file's line.
fn refuse_both_in_files(
    table: &Table<'_>,
    (allow, allow_file): (&[Listed<'_>], &Option<Lines>),
    (deny, deny_file): (&[Listed<'_>], &Option<Lines>),
) {
    for (lines, others, key) in [(allow_file, deny, "deny"), (deny_file, allow, "allow")] {
        let others: Vec<_> = others
            .iter()
            .map(|(value, net)| (*net, value.line))
            .collect();
        if let Some(lines) = lines {
            lines.refuse(table, others.into_iter(), &format!("`{key}`"));
        }
    }
    if let (Some(allowed), Some(denied)) = (allow_file, deny_file) {
        denied.refuse(table, allowed.iter(), &allowed.shown());
    }
}

/// Requires `wscale` for `forward`: a server on another machine is not probed, and must use the offered window scale.
fn require_wscale(table: &Table<'_>, handoff: Handoff, offer: &Offer) {
    if handoff == Handoff::Forward
        && offer.wscale.is_none()
        && let Some(value) = table.value("handoff")
    {
        value.problem(
            "handoff = \"forward\" needs `wscale`, here and in the server's own configuration the same, such as `wscale = 7`",
        );
    }
}

/// Refuses `cookies = "kernel"` for other handoffs than `local`: only this machine's kernel accepts its own cookies.
fn refuse_cookies(table: &Table<'_>, handoff: Handoff, cookies: Cookies) {
    if handoff != Handoff::Local
        && cookies == Cookies::Kernel
        && let Some(value) = table.value("cookies")
    {
        value.problem(format!(
            "`cookies` is \"kernel\", which is for handoff = \"local\" only, and this service's is \"{handoff}\"; remove it"
        ));
    }
}

/// Refuses `plain_cookies = "refuse"` for a service that offers no timestamps: it would refuse every client.
fn refuse_no_client(table: &Table<'_>, plain_cookies: PlainCookies, offer: &Offer) {
    if plain_cookies == PlainCookies::Refuse
        && offer.timestamps == Some(false)
        && let Some(value) = table.value("plain_cookies")
    {
        value.problem(
            "`plain_cookies` is \"refuse\" and `timestamps` is false, which together refuse every client; remove one of them",
        );
    }
}

fn offer(table: &Table<'_>, addresses: &[Listed<'_>]) -> Offer {
    let number = |key, range| {
        table
            .value(key)
            .and_then(|value| Some((value, value.number(range)?)))
    };
    let mss =
        number("mss", limits::MSS).and_then(|(value, mss)| Some((value, u16::try_from(mss).ok()?)));
    if let Some((value, mss)) = mss
        && mss < limits::MSS_IPV6
        && let Some((_, net)) = addresses
            .iter()
            .find(|(_, net)| matches!(net, IpNet::V6(_)))
    {
        let shown = prefix_text::format_prefix(*net);
        value.wrong(&format!(
            "{shown} is IPv6, which needs at least {}",
            limits::MSS_IPV6
        ));
    }
    Offer {
        mss: mss.map(|(_, mss)| mss),
        wscale: number("wscale", limits::WSCALE).and_then(|(_, wscale)| u8::try_from(wscale).ok()),
        sack: table.boolean("sack"),
        timestamps: table.boolean("timestamps"),
        ecn: table.boolean("ecn"),
    }
}
