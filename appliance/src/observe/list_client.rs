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
    let (list, verb) = (request.list, request.verb);
    let Response::Lists(answer) = send_request(control, &Request::Lists(request))? else {
        return Err(ClientError::Strange(control.to_owned()));
    };
    Ok(Outcome::fine(match verb {
        ListVerb::Add | ListVerb::Remove => answer.done + "\n",
        ListVerb::List if json => format_json(&answer.entries),
        ListVerb::List if answer.entries.is_empty() => {
            format!("nothing is on the {} list\n", list.word())
        }
        ListVerb::List => table(&answer.entries),
    }))
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
