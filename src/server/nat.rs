//! Addresses that servers announce and that lead nowhere from here.

use std::str::FromStr;

use super::{Address, EndpointError};

/// Where announced addresses can be reached instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat(Vec<(Address, Address)>);

impl Nat {
    /// Where an announced address can be reached.
    pub(super) fn reach(&self, announced: &Address) -> Address {
        let found = self.0.iter().find(|(from, _)| from == announced);
        found.map_or(announced, |(_, to)| to).clone()
    }
}

impl FromStr for Nat {
    type Err = EndpointError;

    /// `10.0.0.1:6379=db1.example:7001,…`
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let pair = |text: &str| {
            let (from, to) = text.split_once('=').ok_or(EndpointError::Nat)?;
            Ok((from.trim().parse()?, to.trim().parse()?))
        };
        text.split(',').map(pair).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_address_is_reached_where_it_was_said() {
        let nat: Nat =
            "10.0.0.1:6379=localhost:7001, 10.0.0.2:6379=localhost:7002".parse().unwrap();
        let reach = |announced: &str| nat.reach(&announced.parse().unwrap()).to_string();
        assert_eq!(reach("10.0.0.2:6379"), "localhost:7002");
        assert_eq!(reach("10.0.0.3:6379"), "10.0.0.3:6379");
        assert_eq!("10.0.0.1:6379".parse::<Nat>(), Err(EndpointError::Nat));
        assert_eq!("10.0.0.1:x=b".parse::<Nat>(), Err(EndpointError::Port));
    }
}
