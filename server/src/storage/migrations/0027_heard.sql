-- How a bank answered a run that could not be written: the next run ends with it, and asks nobody.
alter table refreshes add column heard text;
