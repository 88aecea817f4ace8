/// The slot of a key in a cluster: CRC16 (XMODEM) of the key, modulo the number of slots. No key of ours has
/// braces, which would make a part of it count alone.
///
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>
pub(super) fn of(key: &str) -> u16 {
    key.bytes().fold(0, crc16) % SLOTS
}

fn crc16(crc: u16, byte: u8) -> u16 {
    (0..8).fold(
        crc ^ (u16::from(byte) << 8),
        |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        },
    )
}

const SLOTS: u16 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_the_one_that_the_specification_computes() {
        assert_eq!("123456789".bytes().fold(0, crc16), 0x31c3);
        // as `CLUSTER KEYSLOT` answers
        assert_eq!((of("foo"), of("bar"), of("somekey")), (12_182, 5_061, 11_058));
    }
}
