//! Names of targets, resolved when a connection is made.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::proxy::Proxy;
use crate::target::Targets;

/// Resolves names and leaves out addresses that are refused, but for the operator's own proxy.
pub(super) struct CheckedResolver {
    pub targets: Targets,
    pub proxy: Option<Proxy>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let ours = self.proxy.as_ref().is_some_and(|proxy| proxy.is_named(name.as_str()));
        let targets = if ours { Targets::any() } else { self.targets.clone() };
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(targets.among(found)?.into_iter()) as Addrs)
        })
    }
}
