"""Fine-tuning a whole network, and what makes a bundle of it. With ``export`` the only rooms that know torch."""
