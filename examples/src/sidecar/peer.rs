use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Whether the other end of a loopback connection belongs to one user, as Linux's table of TCP sockets says. One more
/// lock beside the token: a token that leaked to another user's process opens nothing.
///
/// An end that has closed its socket meanwhile belongs to nobody and is refused; so is one in another network
/// namespace, which loopback does not reach. On systems without `/proc/net/tcp` everybody is refused.
#[derive(Clone, Copy, Debug)]
pub struct PeerCheck(u32);

impl PeerCheck {
    /// Only processes of the user `uid`.
    #[must_use]
    pub const fn new(uid: u32) -> Self {
        Self(uid)
    }

    pub(super) fn allows(self, peer: SocketAddr, own: &str) -> bool {
        let (SocketAddr::V4(peer), Ok(own)) = (peer, own.parse()) else { return false };
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        owner(&table, peer, own) == Some(self.0)
    }
}

/// Whose socket goes from `from` to `to`. <https://docs.kernel.org/networking/proc_net_tcp.html>
fn owner(table: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().take(8).collect();
        let [_, local, remote, state, _, _, _, uid] = columns.as_slice() else { return None };
        let found = *state == ESTABLISHED && address(local)? == from && address(remote)? == to;
        if found { uid.parse().ok() } else { None }
    })
}

/// `0100007F:1F90`: the address as the number that it is in this machine's memory, and the port.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?))
}

const ESTABLISHED: &str = "01";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn only_the_row_of_this_very_connection_says_whose_it_is() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     7        0 11 1 0
   1: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     8        0 12 1 0
   2: 0100007F:C350 0200007F:1F90 01 00000000:00000000 00:00000000 00000000     9        0 13 1 0
   3: 0100007F:C351 0100007F:1F90 06 00000000:00000000 00:00000000 00000000    10        0 0 1 0
   4: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 14 1 0
   5: short
";
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(owner(table, at(50_000), at(8080)), Some(1000));
        assert_eq!(owner(table, at(8080), at(50_000)), Some(7));
        for (from, to) in [(50_001, 8080), (50_000, 8082), (50_002, 8080)] {
            assert_eq!(owner(table, at(from), at(to)), None, "{from} {to}");
        }
        assert_eq!(owner("", at(50_000), at(8080)), None);
    }
}
