//! Checks of industrial protocols.

use super::Proof;
use super::show::then;
use crate::support::traffic::Wire;

/// Frames of IEC 60870-5-104 with these type ids: both sides by turns, the client first.
fn iec(types: &'static [u8]) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let frame = |kind: u8| vec![0x68, 14, 0, 0, 0, 0, kind, 1, 6, 0, 47, 0, 0, 0, 0, 20];
        let frames: Vec<Vec<u8>> = types.iter().map(|kind| frame(*kind)).collect();
        let said: Vec<_> = frames.iter().enumerate().map(|(n, frame)| (n % 2 == 0, &frame[..])).collect();
        wire.tcp(2404, &said, false);
    }
}

/// Modbus questions with these functions, each with the answer, or with the refusal of it.
fn modbus(functions: &'static [u8], refused: bool) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let question = |function: u8| vec![0, 1, 0, 0, 0, 6, 17, function, 0, 107, 0, 3];
        let answer = |function: u8| match refused {
            true => vec![0, 1, 0, 0, 0, 3, 17, function | 0x80, 2],
            false => vec![0, 1, 0, 0, 0, 9, 17, function, 6, 2, 43, 0, 0, 0, 100],
        };
        let said: Vec<(bool, Vec<u8>)> = functions
            .iter()
            .flat_map(|function| [(true, question(*function)), (false, answer(*function))])
            .collect();
        let said: Vec<_> = said.iter().map(|(client, bytes)| (*client, &bytes[..])).collect();
        wire.tcp(502, &said, false);
    }
}

const READS: &[u8] = &[3, 4, 3, 4, 3, 3, 4, 3, 4, 3, 3, 4];

proofs! {
    iec_unexpected_type_id []: iec(&[100, 100, 13, 70]), iec(&[100, 100, 13, 36]);
    iec_invalid_transition [config(r#"{ "learning": 60 }"#)]: then(iec(&[100, 100, 13]), iec(&[100, 100, 36])),
        then(iec(&[100, 100, 13]), iec(&[100, 100, 13]));
    iec_invalid_command_transition []: iec(&[100, 45, 46, 48, 45]), iec(&[45, 45, 13, 46, 46, 13, 48, 48]);
    modbus_unexpected_function []: modbus(&[3, 3, 90], false), modbus(READS, false);
    modbus_too_many_exceptions []: modbus(READS, true), modbus(READS, false);
    modbus_invalid_transition [config(r#"{ "learning": 60 }"#)]: then(modbus(&[3, 4, 3], false), modbus(&[3, 6, 3], false)),
        then(modbus(READS, false), modbus(&[4, 3, 3], false));
}
