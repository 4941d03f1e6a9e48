//! Sentences for people about a project that is up: on the screen as they come, and among the lines of `logs`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use emulator_host::reactor::Waker;

use super::screen::Screen;

/// Sentences that wait for the desk.
const WAITING: usize = 256;

/// Where they are said.
#[derive(Clone, Debug)]
pub(super) struct Notices {
    screen: Rc<Option<Screen>>,
    waiting: Rc<RefCell<VecDeque<String>>>,
    desk: Rc<RefCell<Option<Waker>>>,
}

impl Notices {
    pub(super) fn new(screen: Option<Screen>) -> Self {
        Self {
            screen: Rc::new(screen),
            waiting: Rc::default(),
            desk: Rc::default(),
        }
    }

    /// Whom to wake.
    pub(super) fn hear(&self, desk: Waker) {
        *self.desk.borrow_mut() = Some(desk);
    }

    pub(super) fn say(&self, sentence: &str) {
        if let Some(screen) = &*self.screen {
            screen.tell(&format!("vethlab: {sentence}\n"));
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < WAITING {
            waiting.push_back(sentence.to_owned());
        }
        if let Some(desk) = &*self.desk.borrow() {
            desk.wake();
        }
    }

    pub(super) fn take(&self) -> Option<String> {
        self.waiting.borrow_mut().pop_front()
    }
}
