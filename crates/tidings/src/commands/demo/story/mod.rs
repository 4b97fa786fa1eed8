//! What the demo's worker does, as a sequence of transactions without an end.
//!
//! Up to three projects live side by side; each is created, grows, and makes room for the next one
//! before its rows get long. The first one shows all eight types of action at once. The same
//! seed tells the same story. What each transaction must give is said here, from the worker's side
//! alone: nothing of Tidings is asked.

mod databases;
mod deployments;
mod project;
mod projects;
mod scene;
mod sql;

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use project::Project;
pub use scene::{End, Scene, Value};

/// Lives that run side by side.
const PROJECTS: usize = 3;
/// Scenes of the first project before others join in.
const OPENING: usize = 14;
const NAMES: [&str; 12] = [
    "shop", "blog", "chat", "billing", "search", "inbox", "wiki", "radio", "maps", "polls",
    "forms", "notes",
];

pub struct Story {
    random: StdRng,
    projects: VecDeque<Project>,
    /// Projects that ever were, and scenes told.
    born: usize,
    told: usize,
}

impl Story {
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            projects: VecDeque::new(),
            born: 0,
            told: 0,
        }
    }

    pub fn next_scene(&mut self) -> Scene {
        let room = if self.told < OPENING { 1 } else { PROJECTS };
        self.told += 1;
        if self.projects.len() < room {
            let project = self.new_project();
            self.projects.push_front(project);
        }
        let mut project = match self.projects.pop_front() {
            Some(project) => project,
            None => self.new_project(),
        };
        let scene = project.act(&mut self.random);
        if !project.is_over() {
            self.projects.push_back(project);
        }
        scene
    }

    /// How long the worker rests after this scene: briefly while the first project is shown.
    pub fn pause(&mut self) -> Duration {
        let milliseconds = match self.told <= OPENING {
            true => 220,
            false => self.random.random_range(260..520),
        };
        Duration::from_millis(milliseconds)
    }

    fn new_project(&mut self) -> Project {
        let round = self.born / NAMES.len();
        let name = NAMES[self.born % NAMES.len()];
        let name = match round {
            0 => name.to_owned(),
            round => format!("{name}-{}", round + 1),
        };
        self.born += 1;
        Project::new(self.born, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_opening_shows_all_eight_types_of_action() {
        let mut story = Story::new(1);
        let scenes = (0..OPENING).map(|_| story.next_scene());
        let types: HashSet<String> = scenes
            .flat_map(|scene| scene.expected)
            .map(|sentence| sentence.action_type)
            .collect();
        assert_eq!(types.len(), 8, "{types:?}");
    }

    #[test]
    fn a_long_story_has_transactions_that_give_nothing_one_and_several_actions() {
        let mut story = Story::new(1);
        let scenes: Vec<Scene> = (0..2_000).map(|_| story.next_scene()).collect();
        for end in [End::Commit, End::Rollback] {
            assert!(scenes.iter().any(|scene| scene.end == end));
        }
        for count in 0..4 {
            let gives = |scene: &&Scene| scene.end == End::Commit && scene.expected.len() == count;
            assert!(scenes.iter().any(|scene| gives(&scene)), "{count}");
        }
        let rolled_back = scenes.iter().filter(|scene| scene.end == End::Rollback);
        assert!(rolled_back.flat_map(|scene| &scene.expected).count() == 0);
        assert!(story.projects.len() <= PROJECTS && story.born > 20);
    }
}
