"""What several tests need: records to ask about, programs to talk to."""
