//! Webhooks: who hears of what, what is kept of it, and what becomes of what does not arrive.

use std::collections::BTreeSet;

use lanyard_wire::checkpoint::{LinkPath as Wire, LinkReport};
use serde_json::Value;

use super::super::audit::Via;
use super::super::authority::Role;
use super::super::edits::MemberWishes;
use super::super::lists::Page;
use super::super::memberships::Member;
use super::super::webhooks::deliveries::{Delivery, DeliveryState, KEPT_MS};
use super::super::webhooks::queue::KEPT_MAX;
use super::super::webhooks::tries::{Answer, FAILING_MS, TRIES_MAX};
use super::super::webhooks::{HookEvent, NewWebhook, Webhook, WebhookWishes};
use super::*;
use crate::reach::Reach;

const URL: &str = "https://example.org/T0/pass";

fn new(network: Option<&str>, events: &[HookEvent]) -> NewWebhook {
    NewWebhook {
        network: network.map(|name| NetworkName::parse(name).unwrap()),
        url: URL.to_owned(),
        events: events.iter().copied().collect(),
        description: "chat".to_owned(),
    }
}

fn device(seed: u32) -> DeviceId {
    DeviceId::of(&identity(seed))
}

impl Desk {
    async fn hook(&self, network: Option<&str>) -> Webhook {
        self.index.add_webhook(&new(network, &HookEvent::ALL), &admin()).await.unwrap().0
    }

    /// Reads the outbox as the courier does; says how many deliveries that made.
    async fn read(&self) -> u64 {
        let (mut cursor, mut made) = (self.index.webhook_cursor().await.unwrap(), 0);
        loop {
            let read = self.index.make_deliveries(cursor).await.unwrap();
            (cursor, made) = (read.cursor, made + read.made);
            if !read.has_more {
                return made;
            }
        }
    }

    /// Deliveries of a webhook, the oldest first.
    async fn sent(&self, webhook: &Webhook) -> Vec<Delivery> {
        let mut sent = self.index.deliveries_page(webhook, &Page::first(2_000)).await.unwrap().rows;
        sent.reverse();
        sent
    }

    async fn heard(&self, webhook: &Webhook) -> Vec<HookEvent> {
        self.sent(webhook).await.iter().map(|delivery| delivery.event).collect()
    }

    async fn seen(&self, webhook: &Webhook) -> Option<Webhook> {
        self.index.webhooks(None).await.unwrap().into_iter().find(|found| found.id == webhook.id)
    }

    async fn presence(&self, seed: u32, online: bool) {
        let told = [Presence { device: device(seed), online, ip: None }];
        self.index.record_presence(&told).await.unwrap();
    }

    async fn judge(&self, member: &str, verdict: Verdict) -> Member {
        self.index.judge_member(&home(), member, verdict, &admin()).await.unwrap()
    }

    /// Answers what is due, once; says what became of each.
    async fn answer(&self, status: u16) -> Vec<DeliveryState> {
        let mut states = Vec::new();
        for due in self.index.due_deliveries(100).await.unwrap() {
            let answer = Answer { status: Some(status), error: None };
            states.push(self.index.note_answer(&due, &answer).await.unwrap());
        }
        states
    }
}

fn data(delivery: &Delivery) -> Value {
    let message: Value = serde_json::from_str(&delivery.payload).unwrap();
    assert_eq!(message["type"], delivery.event.as_str());
    assert!(message["timestamp"].as_str().unwrap().starts_with("2025-06-15T15:"), "{message}");
    message["data"].clone()
}

#[tokio::test]
async fn a_webhook_hears_of_its_network_and_one_of_the_server_of_everything_in_order() {
    on_both(async |desk: Desk| {
        let lab = NewNetwork::by_invite(NetworkName::parse("lab").unwrap(), Vec::new());
        desk.index.add_network(&lab, &admin()).await.unwrap();
        let (here, there) = (desk.hook(Some("home")).await, desk.hook(Some("lab")).await);
        let server = desk.hook(None).await;
        assert_eq!(desk.read().await, 0, "nothing happened yet");

        let code = desk.invite_with(2, false).await;
        desk.join(1, Some(code)).await;
        desk.join(2, Some(code)).await;
        desk.judge("device-1", Verdict::Approve).await;
        desk.judge("device-2", Verdict::Approve).await;
        let nas = MemberWishes { name: Some("nas".parse().unwrap()), ..MemberWishes::default() };
        desk.index.set_member(&home(), "device-1", nas, &admin()).await.unwrap();
        desk.judge("nas", Verdict::Suspend).await;
        desk.judge("nas", Verdict::Resume).await;
        desk.presence(1, false).await;
        desk.presence(1, false).await;
        desk.presence(1, true).await;
        let report = |path| LinkReport {
            peer: device(2),
            path,
            rtt_us: None,
            pings: 0,
            lost: 0,
            tx_bytes: 1,
            rx_bytes: 1,
        };
        for path in [Wire::Relay, Wire::Relay, Wire::Direct] {
            desk.index.record_links(&[(device(1), report(path))]).await.unwrap();
        }
        desk.judge("device-2", Verdict::Remove).await;
        let heard = [
            HookEvent::MemberApprovalNeeded,
            HookEvent::MemberApprovalNeeded,
            HookEvent::MemberJoined,
            HookEvent::MemberJoined,
            HookEvent::DeviceOffline,
            HookEvent::DeviceOnline,
            // When it was looked into, device-2 was out: of a pair that shares nothing nothing is said.
            HookEvent::MemberLeft,
        ];
        assert_eq!(desk.read().await, 14);
        assert_eq!((desk.heard(&here).await, desk.heard(&server).await), (heard.to_vec(), heard.to_vec()));
        assert_eq!(desk.heard(&there).await, []);
        assert_eq!(desk.read().await, 0, "once");

        let (sent, whole) = (desk.sent(&here).await, desk.sent(&server).await);
        let joined = data(&sent[2]);
        assert_eq!(
            (&joined["network"]["name"], &joined["device"]["name"]),
            (&"home".into(), &"device-1".into())
        );
        assert!(joined["ip4"].is_string() && joined["joined_via"] == "invite", "{joined}");
        let offline = data(&sent[4]);
        assert_eq!(
            (&offline["device"]["name"], &offline["networks"][0]["name"]),
            (&"nas".into(), &"home".into())
        );
        assert_eq!(data(&whole[4])["device"]["name"], "device-1", "what it calls itself, wherever it is");
        assert_eq!(data(&sent[6])["left_by"], "admin");
        assert!(sent.iter().all(|one| one.state == DeliveryState::Pending && one.tries == 0));
    })
    .await;
}

#[tokio::test]
async fn a_path_that_leads_another_way_is_told_where_somebody_waits_for_it() {
    on_both(async |desk: Desk| {
        desk.join_all(2).await;
        let report = |path| LinkReport {
            peer: device(2),
            path,
            rtt_us: None,
            pings: 0,
            lost: 0,
            tx_bytes: 1,
            rx_bytes: 1,
        };
        let tell = async |path| desk.index.record_links(&[(device(1), report(path))]).await.unwrap();
        let newest = async || desk.index.outbox_span().await.unwrap().1;
        let before = newest().await;
        tell(Wire::Relay).await;
        tell(Wire::Direct).await;
        assert_eq!(newest().await, before, "nobody waits");
        let hook = desk.hook(Some("home")).await;
        desk.read().await;
        desk.pass(2 * HOUR_MS);
        tell(Wire::Direct).await;
        tell(Wire::None).await;
        tell(Wire::Lan).await;
        assert_eq!(desk.read().await, 2);
        let sent = desk.sent(&hook).await;
        let ways: Vec<(Value, Value)> =
            sent.iter().map(|one| (data_of(one)["from"].clone(), data_of(one)["to"].clone())).collect();
        assert_eq!(ways, [("direct".into(), "none".into()), ("none".into(), "lan".into())]);
        let told = data_of(&sent[0]);
        assert_eq!(
            (&told["device"]["name"], &told["peer"]["name"]),
            (&"device-1".into(), &"device-2".into())
        );
        assert_eq!(told["peer"]["id"], device(2).to_string());
    })
    .await;
}

/// Its data, whenever it was.
fn data_of(delivery: &Delivery) -> Value {
    serde_json::from_str::<Value>(&delivery.payload).unwrap()["data"].clone()
}

#[tokio::test]
async fn a_webhook_hears_what_it_was_made_for_from_when_it_was_made_and_while_it_is_on() {
    on_both(async |desk: Desk| {
        desk.read().await;
        desk.join_all(1).await;
        let only = [HookEvent::DeviceOffline];
        let (hook, _) = desk.index.add_webhook(&new(Some("home"), &only), &admin()).await.unwrap();
        desk.presence(1, false).await;
        desk.presence(1, true).await;
        assert_eq!(desk.read().await, 1);
        assert_eq!(desk.heard(&hook).await, [HookEvent::DeviceOffline]);

        let set = async |off| {
            let wishes = WebhookWishes { is_disabled: Some(off), ..WebhookWishes::default() };
            desk.index.set_webhook(&hook.id, &wishes, &admin()).await.unwrap().0
        };
        assert!(set(true).await.disabled_at.is_some());
        assert_eq!(desk.sent(&hook).await[0].state, DeliveryState::Failed, "one that is off sends nothing");
        assert!(desk.index.due_deliveries(9).await.unwrap().is_empty());
        desk.presence(1, false).await;
        assert!(set(false).await.disabled_at.is_none());
        assert_eq!(desk.read().await, 0, "what happened meanwhile is past");
        desk.presence(1, true).await;
        desk.presence(1, false).await;
        assert_eq!(desk.read().await, 1);
        let codes: Vec<String> =
            desk.index.audit_events(50).await.unwrap().into_iter().map(|event| event.code).collect();
        let codes: Vec<&String> = codes.iter().filter(|code| code.starts_with("webhook.")).rev().collect();
        assert_eq!(codes, ["webhook.add", "webhook.disable", "webhook.enable"]);
    })
    .await;
}

#[tokio::test]
async fn what_webhooks_were_not_told_stays_in_the_outbox() {
    on_both(async |desk: Desk| {
        let hook = desk.hook(None).await;
        desk.read().await;
        desk.join_all(1).await;
        desk.pass(30 * HOUR_MS);
        desk.index.prune_outbox().await.unwrap();
        assert_eq!(desk.read().await, 1, "the server was down for a day");
        assert_eq!(desk.heard(&hook).await, [HookEvent::MemberJoined]);
        let newest = desk.index.outbox_span().await.unwrap().1;
        desk.index.keep_webhook_cursor(newest).await.unwrap();
        assert!(desk.index.prune_outbox().await.unwrap() > 0);
        assert_eq!(desk.index.outbox_span().await.unwrap(), (0, 0), "it was read");
    })
    .await;
}

#[tokio::test]
async fn one_that_does_not_arrive_is_tried_for_a_day_and_others_go_before_it() {
    on_both(async |desk: Desk| {
        let hook = desk.hook(Some("home")).await;
        desk.read().await;
        desk.join_all(1).await;
        desk.read().await;
        let began = desk.index.now_ms();
        let mut waits = Vec::new();
        for tries in 1..TRIES_MAX {
            assert_eq!(desk.answer(500).await, [DeliveryState::Pending], "{tries}");
            assert_eq!(desk.answer(200).await, [], "it is not due");
            let next = desk.index.waiting_deliveries().await.unwrap()[0].1;
            waits.push((next - desk.index.now_ms()) / 1_000);
            desk.pass(next - desk.index.now_ms());
        }
        let least = [10, 40, 160, 640, 2_560, 10_240, 21_600, 21_600, 21_600];
        let fits = |(wait, least): (&i64, i64)| (least..=least * 5 / 4).contains(wait);
        assert!(waits.len() == least.len() && waits.iter().zip(least).all(fits), "{waits:?}");
        assert_eq!(desk.seen(&hook).await.unwrap().failing_since, Some(began));
        desk.presence(1, false).await;
        desk.read().await;
        assert_eq!(desk.answer(404).await, [DeliveryState::Failed]);
        let failed = desk.sent(&hook).await.remove(0);
        assert_eq!((failed.tries, failed.last_status), (TRIES_MAX, Some(404)));
        assert_eq!(failed.last_error.as_deref(), Some("status 404"));
        assert!(desk.index.now_ms() - began > 21 * HOUR_MS);

        assert_eq!(desk.answer(204).await, [DeliveryState::Delivered]);
        let seen = desk.seen(&hook).await.unwrap();
        assert_eq!((seen.failing_since, seen.disabled_at), (None, None), "one arrived");
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_nothing_arrives_at_is_switched_off_and_so_is_one_that_is_gone() {
    on_both(async |desk: Desk| {
        let hook = desk.hook(Some("home")).await;
        desk.read().await;
        desk.join_all(1).await;
        desk.read().await;
        desk.answer(500).await;
        // Days without news: one failure now and one then are no reason.
        desk.pass(FAILING_MS);
        desk.answer(500).await;
        assert!(desk.seen(&hook).await.unwrap().disabled_at.is_none(), "it is tried still");
        desk.presence(1, false).await;
        desk.read().await;
        for _ in 2..TRIES_MAX {
            desk.pass(8 * HOUR_MS);
            desk.answer(500).await;
        }
        let off = desk.seen(&hook).await.unwrap();
        assert!(off.disabled_at.is_some(), "{off:?}");
        let audit = desk.index.audit_events(1).await.unwrap().remove(0);
        assert_eq!((audit.code.as_str(), audit.actor_kind.as_str()), ("webhook.disable", "system"));
        assert!(!audit.after.unwrap().contains("/T0/pass"), "of its address the origin alone");
        assert!(desk.sent(&hook).await.iter().all(|one| one.state == DeliveryState::Failed));

        let gone = desk.hook(None).await;
        desk.presence(1, true).await;
        desk.read().await;
        desk.answer(410).await;
        assert!(desk.seen(&gone).await.unwrap().disabled_at.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_test_is_tried_once_and_says_nothing_of_the_days_before() {
    on_both(async |desk: Desk| {
        let hook = desk.hook(Some("home")).await;
        let test = desk.index.test_webhook(&hook.id, &admin()).await.unwrap();
        assert_eq!(data(&test)["webhook_id"], hook.id);
        assert_eq!(desk.answer(500).await, [DeliveryState::Failed]);
        assert_eq!(desk.seen(&hook).await.unwrap().failing_since, None);
        desk.index.retry_delivery(&hook.id, &test.id, &admin()).await.unwrap();
        assert_eq!(desk.answer(200).await, [DeliveryState::Delivered]);
        let again = desk.index.retry_delivery(&hook.id, &test.id, &admin()).await.unwrap();
        assert_eq!((again.id, again.state, again.done_at), (test.id, DeliveryState::Pending, None));
    })
    .await;
}

#[tokio::test]
async fn a_thousand_deliveries_of_a_webhook_are_kept_for_a_week() {
    on_both(async |desk: Desk| {
        let (hook, other) = (desk.hook(Some("home")).await, desk.hook(None).await);
        desk.read().await;
        desk.join_all(1).await;
        desk.read().await;
        for _ in 0..2 {
            let told = |online| Presence { device: device(1), online, ip: None };
            let told: Vec<Presence> = (0..600).map(|turn| told(turn % 2 == 1)).collect();
            desk.index.record_presence(&told).await.unwrap();
        }
        desk.read().await;
        let sent = desk.sent(&hook).await;
        assert_eq!(sent.len(), KEPT_MAX as usize);
        assert_eq!(sent[0].event, HookEvent::DeviceOffline, "the oldest went");
        assert_eq!(desk.sent(&other).await.len(), KEPT_MAX as usize);
        desk.pass(KEPT_MS + 1);
        desk.index.test_webhook(&hook.id, &admin()).await.unwrap();
        assert_eq!(desk.index.prune_deliveries().await.unwrap(), 2 * KEPT_MAX as u64 - 1);
        assert_eq!(desk.heard(&hook).await, [HookEvent::Test]);
    })
    .await;
}

#[tokio::test]
async fn a_network_takes_its_webhooks_along() {
    on_both(async |desk: Desk| {
        let (hook, other) = (desk.hook(Some("home")).await, desk.hook(None).await);
        desk.index.test_webhook(&hook.id, &admin()).await.unwrap();
        desk.index.remove_network(&home(), &admin()).await.unwrap();
        assert_eq!(desk.seen(&hook).await, None);
        assert!(desk.seen(&other).await.is_some());
        let codes: Vec<String> =
            desk.index.audit_events(2).await.unwrap().into_iter().map(|event| event.code).collect();
        assert_eq!(codes, ["network.remove", "webhook.remove"]);
        assert!(desk.index.due_deliveries(9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_webhook_is_for_administrators_of_what_it_hears_of() {
    on_both(async |desk: Desk| {
        let anna = desk.index.add_user(&NewUser::person("anna".parse().unwrap()), &admin()).await.unwrap();
        let hook = desk.hook(Some("home")).await;
        for (role, may) in [(None, false), (Some(Role::Member), false), (Some(Role::Admin), true)] {
            if role.is_some() {
                desk.index.set_role(&home(), "anna", role, None, &admin()).await.unwrap();
            }
            let grants = desk.index.grants(&anna).await.unwrap();
            let shown =
                desk.index.webhooks_page(&grants, &Default::default(), &Page::first(9)).await.unwrap();
            assert_eq!(shown.rows.len(), usize::from(may), "{role:?}");
            let actor = Actor::user(grants, Via::Api, None);
            let wishes = WebhookWishes { new_secret: true, ..WebhookWishes::default() };
            let refused = [
                desk.index.add_webhook(&new(Some("home"), &HookEvent::ALL), &actor).await.err(),
                desk.index.set_webhook(&hook.id, &wishes, &actor).await.err(),
                desk.index.test_webhook(&hook.id, &actor).await.err(),
            ];
            let codes: BTreeSet<&str> = refused.iter().flatten().map(IndexError::code).collect();
            assert_eq!(codes, if may { BTreeSet::new() } else { BTreeSet::from(["index.forbidden"]) });
            let server = desk.index.add_webhook(&new(None, &HookEvent::ALL), &actor).await.unwrap_err();
            assert_eq!(server.code(), "index.forbidden", "{role:?}");
            if may {
                let (own, _) =
                    desk.index.add_webhook(&new(Some("home"), &HookEvent::ALL), &actor).await.unwrap();
                desk.index.test_webhook(&own.id, &actor).await.unwrap();
                for due in desk.index.due_deliveries(9).await.unwrap() {
                    let reach = if due.webhook == own.id { Reach::Public } else { Reach::Anywhere };
                    assert_eq!(due.reach, reach, "where who named its address may send something");
                }
                desk.index.remove_webhook(&hook.id, &actor).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn under_another_fleet_key_a_webhook_is_seen_and_removed_and_has_to_be_told_everything_anew() {
    on_both(async |desk: Desk| {
        let hook = desk.hook(Some("home")).await;
        desk.index.test_webhook(&hook.id, &admin()).await.unwrap();
        let fleet = SymmetricKey::from_bytes([9; 32]);
        let clock = Clock::fixed(Arc::clone(&desk.time));
        let index = Index::open(&desk.database, Schema::Require, &fleet, clock).await.unwrap();
        assert_eq!(index.webhooks(None).await.unwrap()[0].url, "");
        let due = index.due_deliveries(1).await.unwrap().remove(0);
        assert_eq!(index.target_of(&due).unwrap_err().code(), "index.unreadable");
        let half = WebhookWishes { new_secret: true, ..WebhookWishes::default() };
        let refused = index.set_webhook(&hook.id, &half, &admin()).await.unwrap_err();
        assert!(refused.to_string().contains("fleet.key"), "{refused}");
        let both = WebhookWishes { url: Some(URL.to_owned()), ..half };
        assert_eq!(index.set_webhook(&hook.id, &both, &admin()).await.unwrap().0.url, URL);
        assert!(index.target_of(&index.due_deliveries(1).await.unwrap().remove(0)).is_ok());
        let other = desk.hook(None).await;
        index.remove_webhook(&other.id, &admin()).await.unwrap();
        index.close().await;
    })
    .await;
}
