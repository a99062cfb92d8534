#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use super::*;
use crate::registry::{AuthMode, NewDevice};

struct Scene {
    _directory: tempfile::TempDir,
    registry: Registry,
    device: DeviceId,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::open(&directory.path().join("registry.db")).unwrap();
        let device = DeviceId::new("pump-7").unwrap();
        let new = NewDevice { id: device.clone(), name: String::new(), auth_mode: AuthMode::Mtls };
        registry.create_device(&new, at(0)).unwrap();
        Self { _directory: directory, registry, device }
    }

    fn order(&self, id: &str, kind: CommandKind, now: i64, expires_at: Option<i64>) -> Result<(), StoreError> {
        self.registry.create_command(&Command {
            id: id.into(),
            device: self.device.clone(),
            kind,
            name: "do".into(),
            arguments: "{}".into(),
            state: CommandState::Queued,
            actor: "user".into(),
            created_at: at(now),
            expires_at: expires_at.map(at),
            sent_at: None,
            answered_at: None,
            error: None,
            result: None,
        })
    }

    fn answer(&self, id: &str, state: CommandState, now: i64) -> bool {
        let answer = CommandAnswer { id: Some(id.into()), name: None, state, error: None, result: None };
        self.registry.answer_command(&self.device, &answer, at(now)).unwrap()
    }

    fn state(&self, id: &str) -> Option<CommandState> {
        self.registry.command(&self.device, id).unwrap().map(|command| command.state)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 0).unwrap()
}

const DAY: i64 = 86_400;

#[test]
fn what_a_device_began_and_does_not_speak_of_is_open_for_a_day_beyond_its_time() {
    let scene = Scene::new();
    for number in 0..MOST_OPEN {
        let id = number.to_string();
        scene.order(&id, CommandKind::Command, 0, (number == 0).then_some(100)).unwrap();
        assert!(scene.answer(&id, CommandState::Received, 10));
    }
    let refused = scene.order("more", CommandKind::Command, 20, None);
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    assert_eq!(scene.registry.expire_commands(at(10 + DAY)).unwrap(), 0);
    assert_eq!(scene.registry.expire_commands(at(50 + DAY)).unwrap(), 99, "one has its own time");
    assert_eq!((scene.state("0"), scene.state("1")), (Some(CommandState::Received), Some(CommandState::Expired)));
    scene.order("more", CommandKind::Command, 101 + DAY, None).unwrap();
    assert_eq!(scene.state("0"), Some(CommandState::Expired), "looked at when another one comes, too");
    assert!(scene.answer("0", CommandState::Done, 102 + DAY), "what the device says in the end counts");
    assert_eq!(scene.state("0"), Some(CommandState::Done));
}

#[test]
fn configurations_that_were_superseded_are_forgotten() {
    let scene = Scene::new();
    for number in 0..MOST_CONFIGURATIONS + 5 {
        scene.order(&format!("c{number}"), CommandKind::Configuration, number, None).unwrap();
    }
    assert_eq!((scene.state("c4"), scene.state("c5")), (None, Some(CommandState::Expired)));
    assert_eq!(&*scene.registry.device_configuration(&scene.device).unwrap().unwrap().id, "c24");
}
