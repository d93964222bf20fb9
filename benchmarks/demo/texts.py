"""What the demo embeds: short texts on eight topics, and questions about them."""

from __future__ import annotations

TEXTS = (
    # money
    "My credit card was declined at the supermarket this morning.",
    "How long does a bank transfer to another country take?",
    "The interest rate on my savings account went down again.",
    "I was charged twice for the same purchase.",
    "You can withdraw cash from any machine without a fee.",
    # food
    "Knead the dough for ten minutes and let it rise for an hour.",
    "The soup needs a little more salt and some fresh basil.",
    "We shared a pizza with mushrooms and olives.",
    "Roast the vegetables in olive oil until they are golden.",
    "This bakery sells the best sourdough bread in town.",
    # weather
    "Heavy rain and strong winds are expected along the coast tonight.",
    "It was the hottest summer since records began.",
    "Snow has closed several mountain roads.",
    "The fog will clear by noon and the afternoon will be sunny.",
    "A hurricane is moving slowly toward the islands.",
    # space
    "The telescope photographed a galaxy thirteen billion light years away.",
    "Astronauts repaired the station during a six-hour spacewalk.",
    "The probe entered orbit around Mars after a journey of seven months.",
    "A total eclipse of the sun will be visible from northern Spain.",
    "Scientists found water ice at the south pole of the moon.",
    # sports
    "The home team scored twice in the last five minutes and won the match.",
    "She broke the national record in the marathon.",
    "The striker missed a penalty in the cup final.",
    "He trains at the swimming pool before work every morning.",
    "The tennis player won the final in three sets.",
    # health
    "Drink plenty of water and rest if you have a fever.",
    "The doctor prescribed antibiotics for the throat infection.",
    "Regular exercise lowers the risk of heart disease.",
    "The new vaccine protects children against measles.",
    "I have had a headache since yesterday evening.",
    # computers
    "The laptop does not start after the latest update.",
    "A bug in the parser caused the program to crash.",
    "Back up the database before you upgrade the server.",
    "The website was slow because the cache was disabled.",
    "I forgot my password and cannot log in to my email.",
    # travel
    "The train to Vienna leaves from platform four at nine.",
    "Our flight was delayed by three hours because of a strike.",
    "We rented a small car and drove along the coast.",
    "The hotel room has a balcony with a view of the sea.",
    "You need a valid passport to board the ferry.",
)

QUERIES = (
    "Why was my payment refused?",
    "recipe for baking bread",
    "Will there be a storm?",
    "a spacecraft reached another planet",
    "the goal that decided the football game",
    "medicine for an illness",
    "my computer is broken",
    "The airline departed late.",
)
