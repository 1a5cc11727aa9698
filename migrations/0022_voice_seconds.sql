-- What it costs to put speech into words.
alter table usage add column seconds bigint not null default 0;
comment on table usage is 'One row per call of a model, and per voice message that was put into words for us.';
comment on column usage.seconds is 'Of speech, by which services charge; 0 of a call of a model.';
