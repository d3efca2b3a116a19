//! Many filters at once: which of ten thousand match a subject is known after a walk along its tokens.

use std::collections::{BTreeSet, HashMap};

/// Filters by what they stand for; of several for the same thing one match is enough.
#[derive(Clone, Debug)]
pub struct Filters<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    named: HashMap<Box<str>, Node<T>>,
    any: Option<Box<Node<T>>>,
    /// Filters that end here.
    here: Vec<T>,
    /// Filters that end here in `>`.
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { named: HashMap::new(), any: None, here: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for Filters<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T: Clone + Ord> Filters<T> {
    /// Adds a filter.
    pub fn add(&mut self, filter: &str, what: T) {
        let mut node = &mut self.root;
        for token in filter.split('.') {
            node = match token {
                ">" => {
                    node.rest.push(what);
                    return;
                }
                "*" => node.any.get_or_insert_default(),
                token => node.named.entry(token.into()).or_default(),
            };
        }
        node.here.push(what);
    }

    /// What matches, in order and each once.
    pub fn matching(&self, subject: &str) -> Vec<T> {
        let mut found = BTreeSet::new();
        let mut nodes = vec![&self.root];
        for token in subject.split('.') {
            let mut next = Vec::new();
            for node in nodes {
                found.extend(&node.rest);
                next.extend(node.named.get(token));
                next.extend(node.any.as_deref());
            }
            nodes = next;
        }
        found.extend(nodes.iter().flat_map(|node| &node.here));
        found.into_iter().cloned().collect()
    }
}

/// Bytes of a filter at most.
const MAX_FILTER: usize = 512;

/// Makes sure that a filter is one.
///
/// # Errors
/// Says what is wrong.
pub fn check_filter(filter: &str) -> Result<(), String> {
    if filter.len() > MAX_FILTER {
        return Err(format!("a filter has at most {MAX_FILTER} bytes"));
    }
    let tokens: Vec<&str> = filter.split('.').collect();
    for (place, token) in tokens.iter().enumerate() {
        let wild = token.contains(['*', '>']);
        let last = place + 1 == tokens.len();
        match *token {
            "" => return Err(format!("'{filter}': there is an empty token")),
            "*" => {}
            ">" if last => {}
            ">" => return Err(format!("'{filter}': '>' may only stand at the end")),
            token if wild => return Err(format!("'{filter}': '{token}' is neither a word nor a wildcard")),
            token if !token.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(format!("'{filter}': '{token}' has bytes that must be percent-encoded"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// True when there are subjects that both filters match.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::subject::matches;

    proptest! {
        #[test]
        fn many_at_once_are_each_alone(
            filters in proptest::collection::vec("([ab*]\\.){0,3}[ab*>]", 0..20),
            subject in "([ab]\\.){0,3}[ab]",
        ) {
            let mut all = Filters::default();
            filters.iter().enumerate().for_each(|(number, filter)| all.add(filter, number));
            let alone: Vec<usize> =
                (0..filters.len()).filter(|number| matches(&filters[*number], &subject)).collect();
            prop_assert_eq!(all.matching(&subject), alone);
        }
    }

    /// Every subject of one to four tokens, each `a` or `b`.
    fn subjects() -> Vec<String> {
        let longer = |shorter: &Vec<String>| {
            shorter.iter().flat_map(|s| [format!("{s}.a"), format!("{s}.b")]).collect::<Vec<_>>()
        };
        let of_length =
            std::iter::successors(Some(vec!["a".to_owned(), "b".to_owned()]), |s| Some(longer(s)));
        of_length.take(4).flatten().collect()
    }

    proptest! {
        #[test]
        fn filters_overlap_where_one_subject_is_of_both(
            one in "([ab*]\\.){0,3}[ab*>]", other in "([ab*]\\.){0,3}[ab*>]",
        ) {
            let both = subjects().iter().any(|subject| matches(&one, subject) && matches(&other, subject));
            prop_assert_eq!(overlap(&one, &other), both, "{} {}", one, other);
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for (filter, cause) in [
            ("event..x", "empty token"),
            ("event.>.x", "at the end"),
            ("event.a*", "neither"),
            ("event.a b", "percent-encoded"),
        ] {
            assert!(check_filter(filter).unwrap_err().contains(cause), "{filter}");
        }
        assert_eq!(check_filter("event.api.*.*.*.0"), Ok(()));
    }
}
