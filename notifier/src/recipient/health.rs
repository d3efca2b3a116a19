//! How an endpoint does, as its recipients see it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Which recipients of one endpoint are not reached.
#[derive(Debug, Default)]
pub struct EndpointHealth(Mutex<BTreeSet<String>>);

impl EndpointHealth {
    /// A recipient's breaker has opened or closed. Tells whether the endpoint fails, when that is another
    /// state than before: it does while one of its recipients is not reached.
    pub fn turned(&self, recipient: &str, is_open: bool) -> Option<bool> {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failing.is_empty();
        match is_open {
            true => failing.insert(recipient.to_owned()),
            false => failing.remove(recipient),
        };
        (failing.is_empty() != before).then_some(is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_fails_from_its_first_recipient_that_does_to_its_last() {
        let health = EndpointHealth::default();
        assert_eq!(health.turned("a", true), Some(true));
        assert_eq!(health.turned("b", true), None);
        assert_eq!(health.turned("a", true), None, "said twice");
        assert_eq!(health.turned("a", false), None);
        assert_eq!(health.turned("a", false), None);
        assert_eq!(health.turned("b", false), Some(false));
        assert_eq!(health.turned("c", false), None, "it never failed");
    }
}
