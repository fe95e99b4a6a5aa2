//! Asks the language model: for all chapters together, and with embeddings of what it answers.

mod titles;

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::Result;

use crate::chapters::embed::{Embedding, Encode};
use crate::chunk::Passage;
use crate::engine::sampler::Sampling;
use crate::ground::{self, Answer, Claim, Held, Rules};
use crate::language::Language;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::reading::{Effort, Reading, readings};
use crate::summarize::{Llm, Options, Request, Written};

/// The language model and all that is needed to ask it and to embed its answers.
pub struct Writer<'a> {
    llm: &'a dyn Llm,
    encoder: &'a dyn Encode,
    pub style: Style,
    /// The transcript's language, where it is known.
    pub spoken: Option<Language>,
    /// What it is to write in.
    wanted: Option<Language>,
    options: &'a Options,
    rules: Rules,
    progress: Progress,
    known: RefCell<HashMap<String, Embedding>>,
}

/// What the model made of a chapter.
#[derive(Default)]
pub struct Draft {
    /// The sentences that hold; empty where none do.
    pub held: Vec<Held>,
    /// The sentences it was given to read, ascending.
    pub given: Vec<usize>,
}

impl<'a> Writer<'a> {
    /// `spoken` is the transcript's language, where it is known.
    pub fn new(
        llm: &'a dyn Llm,
        encoder: &'a dyn Encode,
        options: &'a Options,
        spoken: Option<Language>,
        progress: Progress,
    ) -> Self {
        let wanted = options.language.or(spoken);
        // What cannot be told in the language wanted is quoted, and has a title in the language that is spoken.
        let knows = |language| options.style.knows(language);
        let told = if knows(wanted) && knows(spoken) {
            wanted
        } else {
            spoken
        };
        let name = told.map_or_else(|| "the language of the text".into(), |l| l.to_string());
        // What a model falls back to: the language most were trained on, or that of what they read.
        let other = match spoken {
            Some(spoken) if Some(spoken) != wanted => spoken,
            _ => Language::ENGLISH,
        };
        Self {
            llm,
            encoder,
            style: options.style.in_language(&name),
            options,
            rules: Rules {
                clause_support: options.style.clause_support,
                quotes: options.style.reports(),
                language: wanted.map(|wanted| (wanted, other)),
                translates: wanted.is_some() && spoken.is_some() && wanted != spoken,
            },
            spoken,
            wanted,
            progress,
            known: RefCell::default(),
        }
    }

    /// Summaries of all chapters. One without two sentences that hold and are likely to be good is tried again.
    pub fn summaries(&self, passages: &[Passage]) -> Result<Vec<Draft>> {
        let mut answers = passages.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        let mut open = (0..passages.len())
            .filter(|&place| self.sums_up(&passages[place]))
            .collect::<Vec<_>>();
        for attempt in 0..ATTEMPTS {
            let groups = open
                .iter()
                .map(|&place| self.readings(&passages[place], place, attempt))
                .collect::<Vec<_>>();
            let read = match attempt {
                0 => self.read("Writing", groups)?,
                // What cannot be tried again keeps what it has.
                _ => self.read("Rewriting", groups).unwrap_or_default(),
            };
            for (&place, more) in open.iter().zip(read) {
                answers[place].extend(more);
            }
            open.retain(|&place| {
                let held = ground::choose(&passages[place], &answers[place], self.rules);
                let fine = |held: &Vec<Held>| {
                    held.len() == ground::SENTENCES && held.iter().all(Held::likely_good)
                };
                !held.is_some_and(|held| fine(&held))
            });
        }
        let draft = |(passage, answers): (&Passage, Vec<Answer>)| {
            let mut given = answers
                .iter()
                .flat_map(|a| a.reading.clone())
                .collect::<Vec<_>>();
            given.sort_unstable();
            given.dedup();
            Draft {
                held: ground::choose(passage, &answers, self.rules).unwrap_or_default(),
                given,
            }
        };
        Ok(passages.iter().zip(answers).map(draft).collect())
    }

    /// The language of a passage: its own where that can be told, or that of the transcript.
    fn language(&self, passage: &Passage) -> Option<Language> {
        Language::spoken_in(&passage.sentences[passage.range.clone()]).or(self.spoken)
    }

    /// Whether the model knows what is spoken, there and in the transcript.
    fn reads(&self, passage: &Passage) -> bool {
        self.style.knows(self.spoken) && self.style.knows(self.language(passage))
    }

    /// Whether it can be asked for a summary of a passage.
    fn sums_up(&self, passage: &Passage) -> bool {
        self.style.knows(self.wanted) && self.reads(passage)
    }

    /// What is asked about a chapter: every reading, with its requests.
    fn readings(
        &self,
        passage: &Passage,
        place: usize,
        attempt: usize,
    ) -> Vec<(Reading, Vec<Request>)> {
        let budget = self.budget(&self.style.summary);
        let readings = readings(
            passage,
            &self.style,
            self.options.effort,
            attempt,
            budget,
            |text| self.llm.count(text),
        );
        let samplings = self.samplings(place + attempt * RETRIED, 0);
        let request = |reading: Reading| {
            let source = self.style.source(passage.sentences, &reading);
            (reading, self.style.summaries(&source, &samplings))
        };
        readings.into_iter().map(request).collect()
    }

    /// A summary of the whole from what its chapters say; `None` where it is not asked for, or too little holds.
    pub fn overview(&self, parts: &Passage) -> Option<Vec<Held>> {
        let budget = self.budget(std::slice::from_ref(&self.style.overview));
        let reading = parts.material(budget, |text| self.llm.count(text));
        let source = self.style.source(parts.sentences, &reading);
        let requests = self
            .style
            .overviews(&source, &self.samplings(OVERVIEW, OVERVIEW_DRAWS));
        if requests.is_empty() || !self.sums_up(parts) {
            return None;
        }
        // A failure here loses nothing: the whole is told without it then.
        let answers = self.read("Overview", vec![vec![(reading, requests)]]);
        let mut answers = answers.unwrap_or_default();
        // What only repeats a chapter says nothing of the whole.
        let repeats = |claim: &Claim| {
            let mut told = parts.sentences.iter();
            told.any(|sentence| sentence.text == claim.text)
        };
        for answer in answers.iter_mut().flatten() {
            answer.claims.retain(|claim| !repeats(claim));
        }
        let rules = Rules {
            quotes: false,
            ..self.rules
        };
        let held = answers
            .iter()
            .find_map(|answers| ground::choose(parts, answers, rules));
        // One sentence may do for a chapter; the whole needs more.
        held.filter(|held| held.len() == ground::SENTENCES)
    }

    /// A report of some sentences that is better than to quote them, where quotes are reported and there is one.
    pub fn report(&self, passage: &Passage, quote: Reading) -> Option<Held> {
        if !self.style.reports() || quote.is_empty() || !self.sums_up(passage) {
            return None;
        }
        let source = self.style.source(passage.sentences, &quote);
        let requests = self
            .style
            .summaries(&source, &self.samplings(OPENING, OVERVIEW_DRAWS));
        // A failure here loses nothing: it is quoted then.
        let answers = self.read("Overview", vec![vec![(quote, requests)]]);
        let answers = answers.unwrap_or_default().into_iter().next()?;
        let mut held = ground::choose(passage, &answers, self.rules)?.into_iter();
        let sure = |held: &Held| held.chances.is_none_or(|chances| chances.surely_true());
        held.find(|held| held.likely_good() && sure(held))
    }

    /// Tokens of source there is room for beside a question and its answer, at most as many as the style wants.
    fn budget(&self, questions: &[String]) -> usize {
        let question = questions
            .iter()
            .map(|question| self.llm.count(question))
            .max();
        let taken = question.unwrap_or(0) + TEMPLATE_TOKENS + self.style.answer;
        self.style
            .material
            .min(self.llm.window().saturating_sub(taken))
    }

    /// `least` draws are made at least: answers that are short, or few, cost little.
    fn samplings(&self, place: usize, least: u64) -> Vec<Sampling> {
        let draws = match self.options.effort {
            Effort::Fast => 0,
            _ => self.style.draws.max(least),
        };
        let Options {
            seed, temperature, ..
        } = *self.options;
        self.style.samplings(seed, place, temperature, draws)
    }

    /// Asks all that is to be read, per chapter, and embeds what the answers claim.
    fn read(
        &self,
        stage: &str,
        groups: Vec<Vec<(Reading, Vec<Request>)>>,
    ) -> Result<Vec<Vec<Answer>>> {
        let mut readings = Vec::new();
        let mut requests = Vec::new();
        for group in groups {
            let (own, asked): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            readings.push(
                own.into_iter()
                    .zip(asked.iter().map(Vec::len))
                    .collect::<Vec<_>>(),
            );
            requests.push(asked.into_iter().flatten().collect::<Vec<_>>());
        }
        let texts = self.ask(stage, &requests)?;
        let mut answers = Vec::new();
        for (readings, texts) in readings.into_iter().zip(texts) {
            let mut texts = texts
                .into_iter()
                .map(|answer| (ground::claims(&answer.text), answer));
            let mut own = Vec::new();
            for (reading, count) in readings {
                own.extend(
                    texts
                        .by_ref()
                        .take(count)
                        .map(|(claims, answer)| (reading.clone(), claims, answer)),
                );
            }
            answers.push(own);
        }
        self.learn(answers.iter().flatten().flat_map(|(_, claims, _)| claims))?;
        let answer = |(reading, claims, written): (Reading, Vec<String>, Written)| Answer {
            reading,
            doubt: written.doubt,
            refusal: written.refusal.unwrap_or(0.),
            probed: written.probed,
            claims: claims
                .into_iter()
                .map(|text| Claim {
                    embedding: self.embedding(&text),
                    text,
                })
                .collect(),
        };
        let answers = answers.into_iter();
        Ok(answers
            .map(|own| own.into_iter().map(answer).collect())
            .collect())
    }

    /// Answers to groups of requests, all in one batch. Where that fails, each group is asked by itself, and what fails then has no
    /// answers; an error, if none has.
    fn ask(&self, stage: &str, groups: &[Vec<Request>]) -> Result<Vec<Vec<Written>>> {
        let all = groups.iter().flatten().cloned().collect::<Vec<_>>();
        if all.is_empty() {
            return Ok(groups.iter().map(|_| Vec::new()).collect());
        }
        let bar = self.progress.bar(stage, 0, "tokens");
        let generate = |requests: &[Request]| {
            self.llm.generate(requests, &mut |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            })
        };
        let error = match generate(&all) {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let counts = groups.iter().map(Vec::len);
                return Ok(counts
                    .map(|count| answers.by_ref().take(count).collect())
                    .collect());
            }
            Err(error) => error,
        };
        let mut failed = 0;
        let answers = groups.iter().map(|group| {
            generate(group).unwrap_or_else(|_| {
                failed += 1;
                Vec::new()
            })
        });
        let answers = answers.collect::<Vec<_>>();
        let asked = groups.iter().filter(|group| !group.is_empty()).count();
        if failed == asked {
            return Err(error);
        }
        if failed > 0 {
            self.progress.note(&format!(
                "{failed} of {asked} chapters could not be written: {error:#}"
            ));
        }
        Ok(answers)
    }

    /// Embeds all texts not met before, together.
    fn learn<'t>(&self, texts: impl Iterator<Item = &'t String>) -> Result<()> {
        let mut known = self.known.borrow_mut();
        let mut new = texts
            .map(String::as_str)
            .filter(|text| !known.contains_key(*text))
            .collect::<Vec<_>>();
        new.sort_unstable();
        new.dedup();
        let embeddings = self.encoder.encode(&new, &mut |_| {})?;
        known.extend(new.into_iter().map(str::to_string).zip(embeddings));
        Ok(())
    }

    /// The embedding of a text that was learnt.
    fn embedding(&self, text: &str) -> Embedding {
        self.known.borrow().get(text).cloned().unwrap_or_default()
    }
}

/// How often a chapter is tried before it is quoted.
const ATTEMPTS: usize = 3;

/// Places from which draws take their seeds: chapters count from 0, tried again from here.
const RETRIED: usize = 1 << 24;
const OVERVIEW: usize = u16::MAX as usize;
const OPENING: usize = OVERVIEW - 1;

/// Draws for what is said of the whole.
const OVERVIEW_DRAWS: u64 = 4;

/// Room for a chat template's own tokens.
const TEMPLATE_TOKENS: usize = 64;
