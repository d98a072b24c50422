//! The engine while networking is down, which needs no interface; tests/netns runs it with one.

use super::*;
use crate::ipc::schema::Ask;
use crate::state::tests::example_cache;

#[tokio::test]
async fn while_down_every_request_that_needs_networking_says_how_to_come_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = down(&directory);
    let peer = || "nas".to_owned();
    for ask in [
        Ask::Up { network: Some("home".to_owned()) },
        Ask::Down { network: Some("home".to_owned()) },
        Ask::Join { join: "nonsense".to_owned(), name: None, password: None, wait_s: 0 },
        Ask::Leave { network: "home".to_owned() },
        Ask::Ping { peer: peer(), count: 1, until_direct: false, size: 56 },
        Ask::Why { peer: peer() },
        Ask::Netcheck,
    ] {
        let Answer::Error(problem) = answer(&mut engine, ask.clone()).await else { panic!("{ask:?}") };
        assert_eq!(problem.code, Code::AgentDown, "{ask:?}");
        assert!(problem.text.contains("lanyard up"), "{problem}");
    }
}

#[tokio::test]
async fn while_down_the_networks_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = down(&directory);
    let Answer::Status(status) = answer(&mut engine, Ask::Status { watch: false }).await else { panic!() };
    assert!(!status.up);
    assert_eq!(status.device.number.as_deref(), Some("291-044-871"));
    assert_eq!(status.device.name, "t480");
    assert_eq!(status.networks[0].name, "home");
    assert_eq!(status.networks[0].members[0].name, "nas");
}

#[tokio::test]
async fn down_is_remembered_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = down(&directory);
    engine.state.down = false;
    let Answer::Switched(switched) = answer(&mut engine, Ask::Down { network: None }).await else { panic!() };
    assert!(!switched.up);
    engine.writer.finish().await;
    let (_store, _, state) = Store::open(&directory.path().join("state"), Damaged::Refuse).unwrap();
    assert!(state.down);
    assert_eq!(state.cache.coordinators.len(), 1, "memberships stay");
}

#[tokio::test]
async fn a_watcher_is_shown_the_status_again_and_forgotten_when_it_hangs_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = down(&directory);
    let (answers, mut watcher) = mpsc::channel(8);
    engine.call(Call { ask: Ask::Status { watch: true }, answers }).await;
    engine.show_watchers();
    for _ in 0..2 {
        assert!(matches!(watcher.recv().await, Some(Answer::Status(_))));
    }
    drop(watcher);
    engine.show_watchers();
    assert!(engine.watchers.is_empty());
}

async fn answer(engine: &mut Engine, ask: Ask) -> Answer {
    let (answers, mut client) = mpsc::channel(8);
    engine.call(Call { ask, answers }).await;
    client.recv().await.expect("an answer")
}

fn down(directory: &tempfile::TempDir) -> Engine {
    let flags = [("state", directory.path().join("state").display().to_string())].into();
    let empty = directory.path().join("lanyard.toml");
    std::fs::write(&empty, "").unwrap();
    let config = Config::resolve(Some(&empty), |_| None, &flags).unwrap();
    let (store, keys, mut state) = Store::open(&config.state, Damaged::Refuse).unwrap();
    state.down = true;
    state.name = Some("t480".parse().unwrap());
    state.cache = example_cache().into();
    Engine::new(config, keys, state, store)
}
