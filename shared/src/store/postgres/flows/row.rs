//! Rows of `flow_record`: as COPY takes them, and as they are read.
//!
//! Format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format". It is written by hand
//! because a row of numbers is written in a fraction of the time that the driver's writer takes, and not
//! on a thread that answers others.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio_postgres::Row;

use super::more::{Columns, More, unreadable};
use crate::model::{L4, Timestamp};
use crate::store::postgres::pool::clean;
use crate::store::{StoreError, StoredFlow};

/// The columns, in the order in which they are copied and read.
pub(super) const COLUMNS: &str = "number, last_seen, first_seen, id, status, score, ifid, cli2srv_bytes, \
     srv2cli_bytes, cli2srv_packets, srv2cli_packets, place, client_port, server_port, vlan, l4, client_ip, \
     server_ip, l7, more";
const COUNT: i16 = 20;

/// What comes before the rows: signature, no flags, no extension.
pub(super) const HEAD: Bytes = Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
/// What comes behind them.
pub(super) const TAIL: Bytes = Bytes::from_static(b"\xff\xff");

/// Appends the row of a flow.
pub(super) fn write(
    to: &mut BytesMut,
    number: i64,
    place: i32,
    stored: &StoredFlow,
) -> Result<(), StoreError> {
    let flow = &stored.flow;
    let (sent, received) = (&flow.cli2srv, &flow.srv2cli);
    let numbers = [
        number,
        flow.last_seen.ns(),
        flow.first_seen.ns(),
        flow.id.cast_signed(),
        flow.status.cast_signed(),
        flow.score.into(),
        flow.ifid.into(),
        sent.bytes.cast_signed(),
        received.bytes.cast_signed(),
        sent.packets.cast_signed(),
        received.packets.cast_signed(),
    ];
    to.put_i16(COUNT);
    for number in numbers {
        to.put_i32(8);
        to.put_i64(number);
    }
    for number in [place, flow.client.port.into(), flow.server.port.into(), flow.vlan.into()] {
        to.put_i32(4);
        to.put_i32(number);
    }
    to.put_i32(2);
    to.put_i16(flow.l4.0.into());
    inet(to, flow.client.ip);
    inet(to, flow.server.ip);
    let l7 = clean(&flow.l7);
    to.put_i32(length(l7.len())?);
    to.put_slice(l7.as_bytes());
    let more = More::of(flow)?;
    to.put_i32(length(more.encoded_len())?);
    more.encode(to).map_err(unreadable)
}

fn length(bytes: usize) -> Result<i32, StoreError> {
    i32::try_from(bytes).map_err(unreadable)
}

/// As `inet_send` writes it: family, bits, not a network, length, address.
fn inet(to: &mut BytesMut, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            to.put_i32(8);
            to.put_slice(&[2, 32, 0, 4]);
            to.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            to.put_i32(20);
            to.put_slice(&[3, 128, 0, 16]);
            to.put_slice(&ip.octets());
        }
    }
}

/// A row of [`COLUMNS`] with site and node behind them.
pub(super) fn read(row: &Row) -> Result<(i64, StoredFlow), StoreError> {
    let big = |at: usize| row.try_get::<_, i64>(at);
    let port = |at: usize| u16::try_from(row.try_get::<_, i32>(at)?).map_err(unreadable);
    let columns = Columns {
        last_seen: Timestamp::from_ns(big(1)?),
        first_seen: Timestamp::from_ns(big(2)?),
        id: big(3)?.cast_unsigned(),
        status: big(4)?.cast_unsigned(),
        score: u32::try_from(big(5)?).map_err(unreadable)?,
        ifid: u32::try_from(big(6)?).map_err(unreadable)?,
        cli2srv: [big(9)?.cast_unsigned(), big(7)?.cast_unsigned()],
        srv2cli: [big(10)?.cast_unsigned(), big(8)?.cast_unsigned()],
        client: (row.try_get(16)?, port(12)?),
        server: (row.try_get(17)?, port(13)?),
        vlan: port(14)?,
        l4: L4(u8::try_from(row.try_get::<_, i16>(15)?).map_err(unreadable)?),
        l7: row.try_get(18)?,
    };
    let more = More::decode(row.try_get::<_, &[u8]>(19)?).map_err(unreadable)?;
    let (site, node) = (row.try_get(20)?, row.try_get(21)?);
    Ok((big(0)?, StoredFlow { site, node, flow: more.with(columns)? }))
}
