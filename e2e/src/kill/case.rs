//! The cases of the kill matrix, by the letters of the issue that asked for them.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    WhileTheContainerBoots,
    RightAfterThe200,
    MidTurn,
    BeforeOurCommit,
    GraphHoldsThenTakes,
    GraphHoldsThenDrops,
    GraphTookButWeDidNotStore,
    SandboxKilled,
    SandboxKilledTwice,
    PostgresRestarted,
    SocketCut,
    ModelFails,
}

impl Case {
    /// In the order in which they are run: the first one needs people whom nobody knows yet.
    pub const ALL: [Self; 12] = [
        Self::WhileTheContainerBoots,
        Self::RightAfterThe200,
        Self::MidTurn,
        Self::BeforeOurCommit,
        Self::GraphHoldsThenTakes,
        Self::GraphHoldsThenDrops,
        Self::GraphTookButWeDidNotStore,
        Self::SandboxKilled,
        Self::SandboxKilledTwice,
        Self::PostgresRestarted,
        Self::SocketCut,
        Self::ModelFails,
    ];

    pub fn letter(self) -> char {
        match self {
            Self::RightAfterThe200 => 'a',
            Self::WhileTheContainerBoots => 'b',
            Self::MidTurn => 'c',
            Self::BeforeOurCommit => 'd',
            Self::GraphHoldsThenTakes => 'e',
            Self::GraphHoldsThenDrops => 'f',
            Self::GraphTookButWeDidNotStore => 'g',
            Self::SandboxKilled => 'h',
            Self::SandboxKilledTwice => 'i',
            Self::PostgresRestarted => 'j',
            Self::SocketCut => 'k',
            Self::ModelFails => 'l',
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) {self:?}", self.letter())
    }
}
