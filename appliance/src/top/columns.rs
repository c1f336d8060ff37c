//! The columns of the table of services.

use std::cmp::Ordering;

use super::rates::ServiceRates;
use crate::observe::ServiceView;
use crate::observe::number_format::format_short;
use crate::observe::text_columns::Align;

/// A service with its rates; `None` while there are not yet two samples.
pub(super) type Row<'a> = (&'a ServiceView, Option<&'a ServiceRates>);

/// A column, which is also an order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Column {
    /// The name.
    Service,
    /// The mode.
    Mode,
    /// The handoff.
    Handoff,
    /// SYNs a second.
    #[default]
    Syns,
    /// SYN-ACKs a second.
    Answers,
    /// Valid cookies a second.
    Proven,
    /// Invalid cookies a second.
    Invalid,
    /// Drops a second.
    Drops,
    /// Flows now.
    Flows,
    /// Openings now.
    Openings,
}

use Column::{Answers, Drops, Flows, Handoff, Invalid, Mode, Openings, Proven, Service, Syns};

/// The columns for 80 characters.
pub(super) const NARROW: [Column; 8] =
    [Service, Mode, Syns, Answers, Proven, Drops, Flows, Openings];
/// The columns for [`WIDE_FROM`] characters and more.
pub(super) const WIDE: [Column; 10] = [
    Service, Mode, Handoff, Syns, Answers, Proven, Invalid, Drops, Flows, Openings,
];
/// Width from which on there is room for [`WIDE`].
pub(super) const WIDE_FROM: usize = 104;

impl Column {
    /// What the key `s` sorts by, in turn.
    pub(super) const ORDERS: [Self; 7] = [Syns, Answers, Proven, Drops, Flows, Openings, Service];

    /// The heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Service => "service",
            Mode => "mode",
            Handoff => "handoff",
            Syns => "SYNs/s",
            Answers => "answers/s",
            Proven => "proven/s",
            Invalid => "invalid/s",
            Drops => "drops/s",
            Flows => "flows",
            Openings => "openings",
        }
    }

    /// Words are on the left, numbers on the right.
    pub(super) fn align(self) -> Align {
        match self {
            Service | Mode | Handoff => Align::Left,
            _ => Align::Right,
        }
    }

    /// The order after this one.
    pub(super) fn next_order(self) -> Self {
        let at = Self::ORDERS.iter().position(|order| *order == self);
        Self::ORDERS[at.map_or(0, |at| (at + 1) % Self::ORDERS.len())]
    }

    /// The cell of a service.
    pub(super) fn cell(self, (service, rates): Row<'_>) -> String {
        match self {
            Service => service.name.clone(),
            Mode if service.mode == "auto" && service.active => "auto on".into(),
            Mode => service.mode.clone(),
            Handoff => service.handoff.clone(),
            _ => self
                .number((service, rates))
                .map_or("-".into(), format_short),
        }
    }

    /// The number in a column of numbers, if it is known.
    fn number(self, (service, rates): Row<'_>) -> Option<f64> {
        match self {
            Service | Mode | Handoff => None,
            Syns => Some(rates?.syns),
            Answers => Some(rates?.answers()),
            Proven => Some(rates?.proven),
            Invalid => Some(rates?.invalid),
            Drops => Some(rates?.dropped()),
            Flows => Some(service.flows as f64),
            Openings => Some(service.openings as f64),
        }
    }

    /// Names in their order, numbers the largest first. Equal rows keep the order of the configuration.
    pub(super) fn compare(self, one: Row<'_>, other: Row<'_>) -> Ordering {
        match self {
            Service | Mode | Handoff => self.cell(one).cmp(&self.cell(other)),
            _ => {
                let number = |row| self.number(row).unwrap_or(-1.0);
                number(other).total_cmp(&number(one))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_come_round() {
        let mut order = Column::default();
        for expected in Column::ORDERS {
            assert_eq!(order, expected);
            order = order.next_order();
        }
        assert_eq!(order, Column::default());
    }

    #[test]
    fn numbers_are_sorted_down_and_names_up() {
        let service = |name: &str, flows| ServiceView {
            name: name.into(),
            flows,
            ..ServiceView::default()
        };
        let (a, b) = (service("a", 1), service("b", 2));
        assert_eq!(Flows.compare((&b, None), (&a, None)), Ordering::Less);
        assert_eq!(Service.compare((&a, None), (&b, None)), Ordering::Less);
        assert_eq!(Syns.compare((&a, None), (&b, None)), Ordering::Equal);
        assert_eq!(Syns.cell((&a, None)), "-");
    }
}
