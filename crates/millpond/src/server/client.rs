//! Whose address a request has, when proxies stand before the server.
//!
//! The accident this prevents: a policy that lets an address range in, and a client that writes an address of
//! that range into `X-Forwarded-For` itself. A hop's word counts only if the hop is one of the trusted.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::IpAddr;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn is(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the client: the nearest hop that is not a trusted proxy. A hop that cannot be read ends
    /// the way back there, at the proxy that let it through.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.is(client) {
            return client;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for hop in hops {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|text| text.trim().parse().ok())
            else {
                return client;
            };
            client = IpAddr::to_canonical(&address);
            if !self.is(client) {
                return client;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(trusted: &[&str], peer: &str, lines: &[&'static str]) -> String {
        let networks = trusted.iter().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        TrustedProxies::new(networks).client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn only_trusted_hops_are_believed() {
        let proxies = &["10.0.0.0/8", "fd00::/8"];
        let table: &[(&[&str], &str, &[&'static str], &str)] = &[
            (&[], "10.0.0.1", &["1.2.3.4"], "10.0.0.1"),
            (proxies, "9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            (proxies, "10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            (proxies, "10.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (proxies, "10.0.0.1", &["6.6.6.6, 1.2.3.4,10.0.0.2"], "1.2.3.4"),
            (proxies, "10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"], "1.2.3.4"),
            (proxies, "10.0.0.1", &[], "10.0.0.1"),
            (proxies, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (proxies, "10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            (proxies, "fd00::1", &["2001:db8::7"], "2001:db8::7"),
            (proxies, "::ffff:10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
        ];
        for (trusted, peer, lines, expected) in table {
            assert_eq!(client(trusted, peer, lines), *expected, "{trusted:?} {peer} {lines:?}");
        }
    }
}
