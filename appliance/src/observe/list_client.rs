//! `synward allow` and `synward deny`.

use std::path::Path;

use super::control_client::{ClientError, Outcome, format_json, send_request};
use super::control_protocol::{Request, Response};
use super::number_format::format_span;
use super::text_columns::Align::{Left, Right};
use super::text_columns::TextColumns;
use crate::lists::{ListRequest, ListVerb, ListedPrefix};

/// `synward allow|deny add|remove|list`. The JSON document is a list of entries.
pub fn lists(control: &Path, request: ListRequest, json: bool) -> Result<Outcome, ClientError> {
    let verb = request.verb;
    let nothing = nothing_listed(&request);
    let Response::Lists(answer) = send_request(control, &Request::Lists(request))? else {
        return Err(ClientError::Strange(control.to_owned()));
    };
    Ok(Outcome::fine(match verb {
        ListVerb::Add | ListVerb::Remove => answer.done + "\n",
        ListVerb::List if json => format_json(&answer.entries),
        ListVerb::List if answer.entries.is_empty() => nothing,
        ListVerb::List => table(&answer.entries),
    }))
}

/// What is said if there is no entry of the kind that is asked for.
fn nothing_listed(request: &ListRequest) -> String {
    let list = request.list.word();
    let about = request.prefix.as_ref().map(|net| format!(" about {net}"));
    let service = request.service.as_ref();
    let service = service.map(|name| format!(" for service \"{name}\""));
    match (about, service) {
        (None, None) => format!("nothing is on the {list} list\n"),
        (about, service) => format!(
            "no entry of the {list} list is{}{}\n",
            about.unwrap_or_default(),
            service.unwrap_or_default()
        ),
    }
}

fn table(entries: &[ListedPrefix]) -> String {
    let mut table = TextColumns::new([
        ("prefix", Left),
        ("service", Left),
        ("origin", Left),
        ("remaining", Right),
    ]);
    for entry in entries {
        table.row([
            entry.prefix.clone(),
            entry.service.clone().unwrap_or_else(|| "all".into()),
            entry.origin.word().into(),
            entry.remaining_seconds.map_or("-".into(), format_span),
        ]);
    }
    table.text()
}
