//! Asks families of generic netlink (Documentation/userspace-api/netlink/intro.rst), through the crate neli.
//!
//! Each family has a thread of neli while it is open. Only commands that end, such as `doctor`, use this file: a thread
//! that started with the appliance would need confinement of its own.
#![forbid(unsafe_code)]

use std::io;

use neli::FromBytes;
use neli::attr::Attribute as _;
use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::err::RouterError;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::nl::NlPayload;
use neli::router::synchronous::NlRouter;
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;

/// An attribute: a type of the family, and bytes.
pub(super) type Attribute = Nlattr<u16, Buffer>;

/// A family, by its name.
pub(super) struct Family {
    router: NlRouter,
    id: u16,
}

impl Family {
    /// Looks the family up in the caller's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]: this kernel does not have the family.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let opened = NlRouter::connect(NlFamily::Generic, None, Groups::empty());
        let (router, _) = opened.map_err(|error| cause(&error))?;
        let id = router.resolve_genl_family(name);
        let id = id.map_err(|error| cause(&error))?;
        Ok(Self { router, id })
    }

    /// Requests one object. Returns the attributes of the reply.
    pub(super) fn ask(&self, command: u8, attributes: Vec<Attribute>) -> io::Result<Attributes> {
        let message = GenlmsghdrBuilder::default()
            .cmd(command)
            .version(1)
            .attrs(attributes.into_iter().collect::<GenlBuffer<_, _>>())
            .build()
            .map_err(io::Error::other)?;
        let message = NlPayload::Payload(message);
        let mut replies = self
            .router
            .send::<_, _, u16, Genlmsghdr<u8, u16>>(self.id, NlmF::empty(), message)
            .map_err(|error| cause(&error))?;
        let reply = replies.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        let reply = reply.map_err(|error| cause(&error))?;
        match reply.nl_payload() {
            NlPayload::Payload(message) => Ok(Attributes(message.attrs().as_ref().to_vec())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The attributes of a reply, or those inside of one of them.
#[derive(Debug)]
pub(super) struct Attributes(Vec<Attribute>);

impl Attributes {
    /// The first attribute of a type.
    pub(super) fn find(&self, kind: u16) -> Option<&Attribute> {
        self.0.iter().find(|one| *one.nla_type().nla_type() == kind)
    }

    /// The number in an attribute. `None`: it is not there.
    pub(super) fn number<T: FromBytes>(&self, kind: u16) -> Option<T> {
        self.find(kind)?.get_payload_as().ok()
    }

    /// The bytes of an attribute.
    pub(super) fn bytes(&self, kind: u16) -> Option<&[u8]> {
        Some(self.find(kind)?.payload().as_ref())
    }

    /// The attributes inside of an attribute.
    pub(super) fn nested(&self, kind: u16) -> Option<Self> {
        self.find(kind).and_then(inside)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }
}

/// The attributes inside of an attribute.
pub(super) fn inside(attribute: &Attribute) -> Option<Attributes> {
    let handle = attribute.get_attr_handle::<u16>().ok()?;
    Some(Attributes(handle.iter().cloned().collect()))
}

/// Makes an attribute.
pub(super) fn attribute(kind: u16, value: &[u8]) -> io::Result<Attribute> {
    NlattrBuilder::default()
        .nla_type(
            AttrTypeBuilder::default()
                .nla_type(kind)
                .build()
                .map_err(io::Error::other)?,
        )
        .nla_payload(Buffer::from(value))
        .build()
        .map_err(io::Error::other)
}

/// Makes an attribute that has another inside.
pub(super) fn nest(kind: u16, inner: &Attribute) -> io::Result<Attribute> {
    attribute(kind, &[])?.nest(inner).map_err(io::Error::other)
}

/// The error number of the kernel's refusal, if it is one.
fn cause<T, P>(error: &RouterError<T, P>) -> io::Error {
    match error {
        RouterError::Nlmsgerr(refusal) => io::Error::from_raw_os_error(-refusal.error()),
        RouterError::Io(kind) => (*kind).into(),
        _ => io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer cannot be read",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_there_is_not_found() {
        let absent = Family::open("sw-none").err().unwrap();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        assert!(Family::open("nlctrl").is_ok());
    }
}
