//! Summaries of a run that says to have begun before one that was heard: the clock of their collector was
//! set back, and it does not know its earlier runs any more.

use shared::model::alert::derive_id;
use shared::model::{Alert, Severity};
use shared::store::Transition;
use shared::wire::delta::Delta;

use super::{Output, Partition};

impl Partition {
    /// Counts a summary that cannot be taken as missing, and tells of the first of its run.
    pub(super) fn refuse_stale(&mut self, delta: &Delta, first: bool, output: &mut Output) {
        let producer = &delta.producer;
        let key = (producer.site.clone(), producer.ifid);
        let Some(state) = self.interfaces.get_mut(&key) else { return };
        state.refuses_batch(&producer.node);
        if !first {
            return;
        }
        let (node, epoch) = (&producer.node, producer.epoch.to_string());
        let id = derive_id(&["summaries_stale", &producer.site, node, &producer.ifid.to_string(), &epoch]);
        let message = format!(
            "Summaries of {node} are not counted: they are of a run that began before one that was heard. \
             Its clock was set back, and it has lost its state_dir"
        );
        let alert = Alert {
            entity_value: node.clone(),
            site: producer.site.clone(),
            node: node.clone(),
            ifid: producer.ifid,
            interface: producer.interface.clone(),
            script: "cluster".to_owned(),
            // Of when they are is not to be trusted.
            ..Alert::internal(id, "summaries_stale", Severity::Error, message, state.interface.watermark)
        };
        self.tell(vec![Transition::Store(alert)], output);
    }
}
