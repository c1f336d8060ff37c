//! Clients that a service cannot serve, in notes of `status`: their counter alone does not say what to do.

use synward_core::counters::Counter;

use super::snapshot::ServiceView;

/// One note for each service with such clients.
pub fn client_notes(services: &[ServiceView]) -> Vec<String> {
    services.iter().filter_map(signed).collect()
}

/// TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925). `local` and `forward` leave such SYNs to the server's kernel.
fn signed(service: &ServiceView) -> Option<String> {
    let dropped = service.counters?.value(Counter::DropSigned);
    (service.handoff == "splice" && dropped > 0).then(|| {
        format!(
            "service \"{}\" has dropped {dropped} SYN(s) signed with TCP-MD5 or TCP-AO (BGP): splice cannot sign a \
             connection in a client's name; add such clients to `allow`, which leaves them to the server",
            service.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Counters;
    use super::*;

    #[test]
    fn status_notes_services_that_drop_signed_syns() {
        let service = |handoff: &str, dropped| {
            let mut counters = Counters::default();
            counters.set(Counter::DropSigned, dropped);
            ServiceView {
                name: "bgp".into(),
                handoff: handoff.into(),
                counters: Some(counters),
                ..ServiceView::default()
            }
        };
        let notes = client_notes(&[service("splice", 0), service("local", 7)]);
        assert_eq!(notes, Vec::<String>::new());
        let notes = client_notes(&[service("splice", 3)]);
        assert!(notes[0].starts_with("service \"bgp\" has dropped 3 SYN(s)"));
        assert!(notes[0].contains("TCP-MD5") && notes[0].contains("`allow`"));
    }
}
