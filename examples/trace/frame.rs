//! Conversations between two IPv4 addresses, as Ethernet frames. Checksums stay zero.

use shared::model::flow::{TCP_FIN, TCP_SYN};

/// A conversation and how far it is.
#[derive(Clone, Debug)]
pub struct Talk {
    pub tcp: bool,
    /// Address and port.
    pub client: (u32, u16),
    pub server: (u32, u16),
    /// The next sequence number of the client and of the server.
    pub seq: [u32; 2],
}

impl Talk {
    /// The next frame of one side, written over what `frame` held.
    pub fn frame(&mut self, from_client: bool, flags: u8, payload: &[u8], frame: &mut Vec<u8>) {
        let side = usize::from(!from_client);
        let (mut source, mut target) = (self.client, self.server);
        if !from_client {
            std::mem::swap(&mut source, &mut target);
        }
        let l4 = if self.tcp { 20 } else { 8 };
        frame.clear();
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        frame.extend([0x45, 0]);
        frame.extend(((20 + l4 + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, if self.tcp { 6 } else { 17 }, 0, 0]);
        frame.extend(source.0.to_be_bytes());
        frame.extend(target.0.to_be_bytes());
        frame.extend(source.1.to_be_bytes());
        frame.extend(target.1.to_be_bytes());
        if self.tcp {
            frame.extend(self.seq[side].to_be_bytes());
            frame.extend(self.seq[1 - side].to_be_bytes());
            frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            let marks = u32::from(flags & (TCP_SYN | TCP_FIN) != 0);
            self.seq[side] = self.seq[side].wrapping_add(payload.len() as u32 + marks);
        } else {
            frame.extend(((8 + payload.len()) as u16).to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend_from_slice(payload);
    }
}
