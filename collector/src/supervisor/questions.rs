//! What others ask of this node.

use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::Message;
use shared::model::query::FlowQuery;

use super::{CollectorDeps, CollectorMessage, Slot, SupervisorState};
use crate::interface::InterfaceMessage;
use crate::script_answer::ScriptAnswer;

/// Passes this node's questions to its supervisor.
pub(super) async fn listen(
    deps: &CollectorDeps,
    myself: ActorRef<CollectorMessage>,
) -> Result<(), ActorProcessingErr> {
    for verb in ["flows", "scripts"] {
        let mut questions = deps.bus.subscribe(&deps.subjects.request(&deps.node, verb)).await?;
        let myself = myself.clone();
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                if myself.cast(CollectorMessage::Question(question)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

impl SupervisorState {
    pub(super) fn answer(&self, question: Message) {
        let Some(reply) = question.reply else { return };
        let verb =
            self.deps.subjects.parse("rq", &question.subject).and_then(|tokens| tokens.into_iter().nth(1));
        let failed = |code: &str, message: String| {
            serde_json::json!({ "error": { "code": code, "message": message } }).to_string()
        };
        match verb.as_deref() {
            Some("flows") => match serde_json::from_slice::<FlowQuery>(&question.payload) {
                Ok(query) => match self.live_actor(query.ifid) {
                    Some(actor) => {
                        let _ = actor.cast(InterfaceMessage::LiveFlows(query, reply));
                    }
                    None => reply.send(failed("not_found", "no such interface is capturing".to_owned())),
                },
                Err(error) => reply.send(failed("bad_request", error.to_string())),
            },
            Some("scripts") if self.live_actor(None).is_none() => {
                reply.send(failed("not_found", "no interface is capturing".to_owned()));
            }
            Some("scripts") => {
                let answer = ScriptAnswer::new(reply);
                for actor in self.slots.iter().filter_map(|slot| slot.actor.as_ref()) {
                    let _ = actor.cast(InterfaceMessage::Scripts(answer.clone()));
                }
            }
            _ => reply.send(failed("not_found", format!("no such question: {}", question.subject))),
        }
    }

    /// The actor of an interface, or of the first that captures.
    fn live_actor(&self, ifid: Option<u32>) -> Option<&ActorRef<InterfaceMessage>> {
        let wanted = |slot: &&Slot| ifid.is_none_or(|ifid| slot.args.place.ifid == ifid);
        self.slots.iter().filter(wanted).find_map(|slot| slot.actor.as_ref())
    }
}
