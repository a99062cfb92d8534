//! The commands that every agent knows.

/// A command of the agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Answers.
    Ping,
    /// Reads a sensor, or all, at once.
    ReadNow,
    /// Changes how often a sensor is read.
    SetInterval,
    /// Tells the configuration in force.
    GetConfig,
    /// Changes the configuration, on trial.
    SetConfig,
    /// Starts the program anew.
    RestartAgent,
    /// Tells how the agent and its sensors are.
    Diagnostics,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ping,
        Self::ReadNow,
        Self::SetInterval,
        Self::GetConfig,
        Self::SetConfig,
        Self::RestartAgent,
        Self::Diagnostics,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::ReadNow => "read-now",
            Self::SetInterval => "set-interval",
            Self::GetConfig => "get-config",
            Self::SetConfig => "set-config",
            Self::RestartAgent => "restart-agent",
            Self::Diagnostics => "diagnostics",
        }
    }

    /// The one of this name; `_` counts as `-`, which other platforms write.
    pub fn named(name: &str) -> Option<Self> {
        let same =
            |one: &Self| one.name().len() == name.len() && one.name().chars().zip(name.chars()).all(same_character);
        Self::ALL.into_iter().find(same)
    }
}

fn same_character((ours, theirs): (char, char)) -> bool {
    ours == theirs || (ours == '-' && theirs == '_')
}
