//! DNS messages (RFC 1035 §4): a query read in place, a reply written, and a general view of replies.
//!
//! The fast path is [`Query`]: one question, found without building a message. [`Reply`] writes what
//! the embedded server and the emulated outside answer: records owned by the question's name. It is
//! written plainly if it fits and with compression if it does not, then cut record by record with TC set, as
//! the DNS library of Docker does. [`Message`] reads any reply through `simple-dns`.
//! EDNS (RFC 6891) is understood for its size and never echoed, as Docker leaves it out. Left out:
//! DNSSEC, updates, zone transfers, more than one question.

use core::fmt;
use core::net::IpAddr;

use simple_dns::rdata::RData;

use crate::name;

/// Length of the header.
pub const HEADER_LEN: usize = 12;
/// What a client without EDNS takes over UDP (RFC 1035 §4.2.1).
pub const UDP_SIZE: usize = 512;

const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const CD: u16 = 0x0010;
const OPT: u16 = 41;

/// A response code (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rcode {
    /// 1: the query could not be read.
    FormErr,
    /// 0: no error. Without answers it is what resolvers call NODATA.
    NoError,
    /// 4: this kind of query is not supported.
    NotImp,
    /// 3: the name does not exist.
    NxDomain,
    /// 5: the server does not want to answer.
    Refused,
    /// 2: the server failed.
    ServFail,
    /// Any other, by number.
    Other(u8),
}

impl Rcode {
    /// The code's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::Other(number) => number & 0xf,
        }
    }

    /// The code with this number (of four bits).
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number & 0xf {
            0 => Self::NoError,
            1 => Self::FormErr,
            2 => Self::ServFail,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            other => Self::Other(other),
        }
    }
}

/// The name that tools print, such as `NXDOMAIN`.
impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoError => f.write_str("NOERROR"),
            Self::FormErr => f.write_str("FORMERR"),
            Self::ServFail => f.write_str("SERVFAIL"),
            Self::NxDomain => f.write_str("NXDOMAIN"),
            Self::NotImp => f.write_str("NOTIMP"),
            Self::Refused => f.write_str("REFUSED"),
            Self::Other(number) => write!(f, "RCODE{number}"),
        }
    }
}

/// A record type (RFC 1035 §3.2.2 and later), by its number.
pub mod qtype {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Mail exchange.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Service.
    pub const SRV: u16 = 33;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// Why bytes are not a query that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is a response.
    IsResponse,
    /// It has no question.
    NoQuestion,
    /// It is not a query in the narrow sense: NOTIMP is due.
    OpCode,
    /// It has several questions, answers, or more additional records than EDNS and TSIG need:
    /// FORMERR is due.
    Sections,
    /// It cannot be read.
    Unreadable,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsResponse => "a response where a query was expected",
            Self::NoQuestion => "a query without a question",
            Self::OpCode => "a message that is not a query",
            Self::Sections => "a query with more sections than a query has",
            Self::Unreadable => "a message that cannot be read",
        })
    }
}

impl core::error::Error for Malformed {}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

/// The ID in the first two bytes of a message.
#[must_use]
pub fn id_of(bytes: &[u8]) -> Option<u16> {
    u16_at(bytes, 0)
}

/// The response code in a message's header; `None` if there is no whole header.
#[must_use]
pub fn rcode_of(bytes: &[u8]) -> Option<Rcode> {
    (bytes.len() >= HEADER_LEN).then(|| Rcode::from_number(bytes[3]))
}

/// It is a response whose sections can be walked to their end. What the records say is not looked at.
#[must_use]
pub fn is_response(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_LEN && bytes[2] & 0x80 != 0 && walk(bytes).is_some()
}

fn walk(bytes: &[u8]) -> Option<()> {
    let mut at = HEADER_LEN;
    for _ in 0..u16_at(bytes, 4)? {
        at = name::skip(bytes, at).ok()? + 4;
    }
    let records = [6, 8, 10].map(|field| u16_at(bytes, field).unwrap_or(0));
    for _ in 0..records.iter().map(|&count| u32::from(count)).sum() {
        let fixed = name::skip(bytes, at).ok()?;
        at = fixed + 10 + usize::from(u16_at(bytes, fixed + 8)?);
    }
    (at <= bytes.len()).then_some(())
}

/// A query with one question, read in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Its ID.
    pub id: u16,
    flags: u16,
    /// The name asked for, as text (see [`name`]), its case kept.
    pub name: String,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for; 1 is the Internet.
    pub qclass: u16,
    /// The size that an OPT record offers.
    pub udp_size: Option<u16>,
    question: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads a query.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let field = |at| u16_at(bytes, at).ok_or(Malformed::Unreadable);
        let (id, flags, questions) = (field(0)?, field(2)?, field(4)?);
        let (answers, authorities, additionals) = (field(6)?, field(8)?, field(10)?);
        if flags & QR != 0 {
            return Err(Malformed::IsResponse);
        }
        if flags & OPCODE != 0 {
            return Err(Malformed::OpCode);
        }
        if questions == 0 {
            return Err(Malformed::NoQuestion);
        }
        if questions > 1 || answers > 1 || authorities > 1 || additionals > 2 {
            return Err(Malformed::Sections);
        }
        // Read by itself: in front of the first name there is only the header for a pointer to point to.
        let body = bytes.get(HEADER_LEN..).ok_or(Malformed::Unreadable)?;
        let (name, length) = name::read(body, 0).map_err(|_| Malformed::Unreadable)?;
        let end = HEADER_LEN + length;
        let question = bytes
            .get(HEADER_LEN..end + 4)
            .ok_or(Malformed::Unreadable)?;
        let mut query = Self {
            id,
            flags,
            name,
            qtype: field(end)?,
            qclass: field(end + 2)?,
            udp_size: None,
            question,
        };
        let mut at = end + 4;
        for _ in 0..answers + authorities + additionals {
            let record = name::skip(bytes, at).map_err(|_| Malformed::Unreadable)?;
            if field(record)? == OPT {
                query.udp_size = Some(field(record + 2)?);
            }
            at = record + 10 + usize::from(field(record + 8)?);
            if at > bytes.len() {
                return Err(Malformed::Unreadable);
            }
        }
        Ok(query)
    }

    /// The client wants recursion.
    #[must_use]
    pub const fn recursion_desired(&self) -> bool {
        self.flags & RD != 0
    }

    /// How long a reply over UDP may be: what EDNS offers, and 512 at least.
    #[must_use]
    pub fn udp_limit(&self) -> usize {
        self.udp_size
            .map_or(UDP_SIZE, |size| usize::from(size).max(UDP_SIZE))
    }

    /// A query asks for one name and type, with recursion.
    ///
    /// # Errors
    /// [`name::NameError`] if the name has no wire form.
    pub fn build(id: u16, name: &str, qtype: u16) -> Result<Vec<u8>, name::NameError> {
        let mut out = Vec::with_capacity(HEADER_LEN + name.len() + 6);
        for field in [id, RD, 1, 0, 0, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        name::write(name, &mut out)?;
        out.extend_from_slice(&qtype.to_be_bytes());
        out.extend_from_slice(&1_u16.to_be_bytes());
        Ok(out)
    }
}

/// How a reply that does not fit is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Compress first, then cut and set TC: Docker 29.
    Compress,
    /// Cut the plain form and set TC: Docker 20.10.
    Cut,
}

/// A reply to a query: records that the question's name owns.
#[derive(Clone, Debug)]
pub struct Reply<'q> {
    id: u16,
    flags: u16,
    question: &'q [u8],
    records: Vec<u8>,
    ends: Vec<usize>,
}

impl<'q> Reply<'q> {
    /// An empty reply with QR set and ID, RD, CD and question as in the query.
    #[must_use]
    pub fn new(query: &Query<'q>, rcode: Rcode) -> Self {
        Self {
            id: query.id,
            flags: QR | query.flags & (RD | CD) | u16::from(rcode.number()),
            question: query.question,
            // Room for what most answers hold, so that they do not grow field by field.
            records: Vec::with_capacity(64),
            ends: Vec::with_capacity(4),
        }
    }

    /// Sets RA: recursion is available.
    #[must_use]
    pub const fn recursion_available(mut self) -> Self {
        self.flags |= RA;
        self
    }

    /// Sets AA: the answer has authority.
    #[must_use]
    pub const fn authoritative(mut self) -> Self {
        self.flags |= AA;
        self
    }

    /// Adds an A or AAAA record.
    pub fn address(&mut self, ttl: u32, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.record(qtype::A, ttl, &v4.octets()),
            IpAddr::V6(v6) => self.record(qtype::AAAA, ttl, &v6.octets()),
        }
    }

    /// Adds a PTR record.
    ///
    /// # Errors
    /// [`name::NameError`] if `target` has no wire form.
    pub fn pointer(&mut self, ttl: u32, target: &str) -> Result<(), name::NameError> {
        let mut data = Vec::with_capacity(target.len() + 2);
        name::write(target, &mut data)?;
        self.record(qtype::PTR, ttl, &data);
        Ok(())
    }

    /// Appends type, class, TTL, length and data; the owner is written at the end.
    fn record(&mut self, rtype: u16, ttl: u32, data: &[u8]) {
        let length = u16::try_from(data.len()).unwrap_or(0);
        self.records.extend_from_slice(&rtype.to_be_bytes());
        self.records.extend_from_slice(&1_u16.to_be_bytes());
        self.records.extend_from_slice(&ttl.to_be_bytes());
        self.records.extend_from_slice(&length.to_be_bytes());
        self.records.extend_from_slice(&data[..usize::from(length)]);
        self.ends.push(self.records.len());
    }

    /// The reply's bytes, at most `limit` of them (but always header and question).
    #[must_use]
    pub fn finish(mut self, limit: usize, fit: Fit) -> Vec<u8> {
        let plain = &self.question[..self.question.len() - 4];
        let base = HEADER_LEN + self.question.len();
        let size = |owner: usize, count: usize, ends: &[usize]| {
            base + owner * count + count.checked_sub(1).map_or(0, |last| ends[last])
        };
        let mut owner: &[u8] = plain;
        let mut count = self.ends.len();
        if size(owner.len(), count, &self.ends) > limit && fit == Fit::Compress {
            owner = &[0xc0, HEADER_LEN as u8];
        }
        while count > 0 && size(owner.len(), count, &self.ends) > limit {
            count -= 1;
        }
        if count < self.ends.len() {
            self.flags |= TC;
        }
        let mut out = Vec::with_capacity(size(owner.len(), count, &self.ends));
        let answers = u16::try_from(count).unwrap_or(u16::MAX);
        for field in [self.id, self.flags, 1, answers, 0, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(self.question);
        let mut from = 0;
        for &end in &self.ends[..count] {
            out.extend_from_slice(owner);
            out.extend_from_slice(&self.records[from..end]);
            from = end;
        }
        out
    }
}

/// The bare header that refuses a query which was not read further: NOTIMP or FORMERR.
#[must_use]
pub fn refuse(bytes: &[u8], rcode: Rcode) -> Option<Vec<u8>> {
    let (id, flags) = (u16_at(bytes, 0)?, u16_at(bytes, 2)?);
    let flags = QR | flags & OPCODE | u16::from(rcode.number());
    let mut out = Vec::with_capacity(HEADER_LEN);
    for field in [id, flags, 0, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    Some(out)
}

/// One answer of a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner, as text.
    pub owner: String,
    /// Time to live in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME.
    Alias(String),
    /// MX: preference and host.
    Exchange(u16, String),
    /// PTR.
    Pointer(String),
    /// Any other type, by number.
    Other(u16),
}

/// A reply as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its ID.
    pub id: u16,
    /// Its response code.
    pub rcode: Rcode,
    /// AA.
    pub authoritative: bool,
    /// TC.
    pub truncated: bool,
    /// RD.
    pub recursion_desired: bool,
    /// RA.
    pub recursion_available: bool,
    /// The question's name and type, if it has one.
    pub question: Option<(String, u16)>,
    /// The answers.
    pub answers: Vec<Record>,
    /// How many records the authority section has.
    pub authorities: usize,
    /// An OPT record is there.
    pub edns: bool,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed::Unreadable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let packet = simple_dns::Packet::parse(bytes).map_err(|_| Malformed::Unreadable)?;
        let flags = u16_at(bytes, 2).ok_or(Malformed::Unreadable)?;
        let question = if packet.questions.is_empty() {
            None
        } else {
            let (name, end) = name::read(bytes, HEADER_LEN).map_err(|_| Malformed::Unreadable)?;
            Some((name, u16_at(bytes, end).ok_or(Malformed::Unreadable)?))
        };
        Ok(Self {
            id: packet.id(),
            rcode: Rcode::from_number(flags as u8),
            authoritative: flags & AA != 0,
            truncated: flags & TC != 0,
            recursion_desired: flags & RD != 0,
            recursion_available: flags & RA != 0,
            question,
            answers: packet.answers.iter().map(record).collect(),
            authorities: packet.name_servers.len(),
            edns: packet.opt().is_some(),
        })
    }

    /// The addresses among the answers.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.answers.iter().filter_map(|record| match record.data {
            Data::Address(address) => Some(address),
            _ => None,
        })
    }
}

fn record(record: &simple_dns::ResourceRecord<'_>) -> Record {
    let data = match &record.rdata {
        RData::A(a) => Data::Address(IpAddr::V4(a.address.into())),
        RData::AAAA(aaaa) => Data::Address(IpAddr::V6(aaaa.address.into())),
        RData::CNAME(cname) => Data::Alias(text(&cname.0)),
        RData::MX(mx) => Data::Exchange(mx.preference, text(&mx.exchange)),
        RData::PTR(ptr) => Data::Pointer(text(&ptr.0)),
        other => Data::Other(other.type_code().into()),
    };
    Record {
        owner: text(&record.name),
        ttl: record.ttl,
        data,
    }
}

fn text(name: &simple_dns::Name<'_>) -> String {
    let mut wire = Vec::with_capacity(32);
    for label in name.as_bytes() {
        wire.push(u8::try_from(label.len()).unwrap_or(0));
        wire.extend_from_slice(label);
    }
    wire.push(0);
    name::read(&wire, 0).map_or_else(|_| name.to_string(), |(text, _)| text)
}
