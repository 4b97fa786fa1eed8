//! What the worker does to rows of `deployments`.

use rand::RngExt;
use rand::rngs::StdRng;

use super::project::{Act, Project, count, pick};
use super::scene::{Scene, Statement, scene, statement, values};
use super::sql;
use crate::commands::demo::sentence::Sentence;

const FAULTS: [&str; 3] = [
    "health check timed out",
    "image not found",
    "out of memory in build step 4",
];

impl Project {
    pub(super) fn request_deployment(&mut self) -> Scene {
        self.deployment_rows += 1;
        self.deployments += 1;
        // It is seen through before anything else that is planned.
        self.planned.push_front(Act::EndDeployment);
        self.planned.push_front(Act::BeginDeployment);
        let id = self.deployment_id();
        let values = values([
            (&id).into(),
            (&self.id).into(),
            self.user.into(),
            self.request(),
            self.platform.0.into(),
        ]);
        let words = format!("insert deployments {id} (pending)");
        scene(words, [statement(sql::REQUEST_DEPLOYMENT, values)], [])
    }

    pub(super) fn begin_deployment(&self) -> Scene {
        let id = self.deployment_id();
        let said = self.deployed("in_progress", format!("Deploying to {}", self.platform.0));
        let words = format!("update deployments {id} (in_progress)");
        let values = values([(&id).into()]);
        scene(words, [statement(sql::BEGIN_DEPLOYMENT, values)], [said])
    }

    /// Some fail; then a fix is pushed, and it is tried again.
    pub(super) fn end_deployment(&mut self, random: &mut StdRng) -> Scene {
        let id = self.deployment_id();
        let (platform, domain) = self.platform;
        if (self.number + self.deployments).is_multiple_of(3) {
            self.planned.extend([Act::Push, Act::RequestDeployment]);
            let fault = pick(&FAULTS, random);
            let said = format!("Deployment to {platform} failed: {fault}");
            let values = values([(&id).into(), fault.into()]);
            return scene(
                format!("update deployments {id} (failed)"),
                [statement(sql::FAIL_DEPLOYMENT, values)],
                [self.deployed("failed", said)],
            );
        }
        let url = format!("https://{}.{domain}", self.name);
        let said = format!("Deployed to {platform}: {url}");
        let values = values([(&id).into(), (&url).into()]);
        scene(
            format!("update deployments {id} (success)"),
            [statement(sql::FINISH_DEPLOYMENT, values)],
            [self.deployed("success", said)],
        )
    }

    fn deployed(&self, status: &str, details: String) -> Sentence {
        Sentence {
            status: status.to_owned(),
            environment: "production".to_owned(),
            ..self.say("deployment", details)
        }
    }

    pub(super) fn push(&mut self, random: &mut StdRng) -> Scene {
        let (statement, said) = self.pushed(random);
        let words = format!("insert deployments {} (push)", self.deployment_id());
        scene(words, [statement], [said])
    }

    pub(super) fn pushed(&mut self, random: &mut StdRng) -> (Statement, Sentence) {
        self.deployment_rows += 1;
        let files: u8 = random.random_range(1..=12);
        let repository = format!("https://github.com/acme/{}", self.name);
        let counted = count(files.into(), "file", "files");
        let said = format!("Pushed {counted} to {repository}");
        let values = values([
            (&self.deployment_id()).into(),
            (&self.id).into(),
            self.user.into(),
            self.request(),
            (&repository).into(),
            i32::from(files).into(),
            self.environment.into(),
        ]);
        (statement(sql::PUSH, values), self.say("github_push", said))
    }
}
