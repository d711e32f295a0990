"""Objects in files that processes share: counters, queues, records, and wake-ups."""
