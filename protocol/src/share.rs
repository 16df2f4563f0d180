//! How much one client may have of what all clients of a node share: connections, sessions, bytes. Nobody is known
//! before he has shown who he is, so a client is an address here. Decides and counts; never waits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Who has a share: an address, and of IPv6 the network of a site (64 bits), of which a client has all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// Who comes from this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

/// How much one network may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// So many.
    AtMost(usize),
    /// No more than is left for all others: alone half of it, beside others less. What is free never goes to those
    /// alone who have much already.
    AsMuchAsIsLeft,
}

/// Why no more can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All of it is taken.
    #[error("all clients of this node together")]
    Node,
    /// The network has its share.
    #[error("the clients of one address")]
    Address,
}

impl Full {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Address => "address",
        }
    }
}

/// What is shared, and who has how much of it.
#[derive(Debug)]
pub struct Shares {
    max: usize,
    rule: Rule,
    taken: usize,
    by_network: HashMap<ClientNetwork, usize>,
}

impl Shares {
    /// So much, of which nothing is taken.
    #[must_use]
    pub fn new(max: usize, rule: Rule) -> Self {
        Self { max, rule, taken: 0, by_network: HashMap::new() }
    }

    /// How much is taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Takes so much for `network`.
    ///
    /// # Errors
    /// There is no room, and nothing was taken.
    pub fn take(&mut self, network: ClientNetwork, amount: usize) -> Result<(), Full> {
        let Some(left) = self.max.checked_sub(self.taken.saturating_add(amount)) else { return Err(Full::Node) };
        let before = self.by_network.get(&network).copied().unwrap_or_default();
        let most = match self.rule {
            Rule::AtMost(most) => most,
            Rule::AsMuchAsIsLeft => left,
        };
        let after = before.saturating_add(amount);
        if after > most {
            return Err(Full::Address);
        }
        self.by_network.insert(network, after);
        self.taken += amount;
        Ok(())
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, network: ClientNetwork, amount: usize) {
        self.taken = self.taken.saturating_sub(amount);
        let Some(held) = self.by_network.get_mut(&network) else { return };
        *held = held.saturating_sub(amount);
        if *held == 0 {
            self.by_network.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Nobody takes what others need, and what is given back can be had again.
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::{ClientNetwork, Full, Rule, Shares};

    fn network(text: &str) -> ClientNetwork {
        ClientNetwork::of(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_holder_has_so_many_and_all_together_no_more_than_there_are() {
        let (one, other) = (network("10.0.0.1"), network("10.0.0.2"));
        let mut shares = Shares::new(3, Rule::AtMost(2));
        assert_eq!(
            [shares.take(one, 1), shares.take(one, 1), shares.take(one, 1)],
            [Ok(()), Ok(()), Err(Full::Address)]
        );
        assert_eq!([shares.take(other, 1), shares.take(other, 1)], [Ok(()), Err(Full::Node)]);
        shares.give_back(one, 1);
        assert_eq!([shares.take(other, 1), shares.take(one, 1)], [Ok(()), Err(Full::Node)]);
    }

    #[test]
    fn one_who_is_alone_gets_half_and_leaves_room_for_another() {
        let mut shares = Shares::new(100, Rule::AsMuchAsIsLeft);
        assert_eq!(shares.take(network("10.0.0.1"), 51), Err(Full::Address));
        assert_eq!(shares.take(network("10.0.0.1"), 50), Ok(()));
        assert_eq!(shares.take(network("10.0.0.2"), 25), Ok(()));
        assert_eq!(shares.take(network("10.0.0.3"), 13), Err(Full::Address));
        assert_eq!(shares.take(network("10.0.0.3"), 12), Ok(()));
    }

    #[test]
    fn a_site_of_ipv6_is_one_holder_and_a_mapped_address_is_what_it_maps() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_holders_have(steps in prop::collection::vec((0_u8..4, 0_usize..40, any::<bool>()), 0..200)) {
            let mut shares = Shares::new(100, Rule::AsMuchAsIsLeft);
            let mut held: Vec<(u8, usize)> = Vec::new();
            for (who, amount, gives) in steps {
                let of = |who: u8| ClientNetwork::of(IpAddr::from([10, 0, 0, who]));
                if gives {
                    if let Some((who, amount)) = held.pop() {
                        shares.give_back(of(who), amount);
                    }
                } else if shares.take(of(who), amount).is_ok() {
                    held.push((who, amount));
                }
                prop_assert_eq!(shares.taken(), held.iter().map(|(_, amount)| amount).sum::<usize>());
                prop_assert!(shares.taken() <= 100);
                prop_assert!(shares.by_network.len() <= held.len());
            }
        }
    }
}
