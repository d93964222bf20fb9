"""Texts for a load when none are given: short questions and remarks, as a help desk gets them."""

from __future__ import annotations

TEXTS = (
    "Hello",
    "Thanks, that solved it.",
    "Where is my parcel?",
    "The app closes by itself when I open the second page.",
    "How do I change the address on my account?",
    "I was charged twice for the same order last Friday, please check.",
    "Is there a student discount?",
    "My password reset mail never arrives, and I have looked in the spam folder too.",
    "Can I return a gift without the receipt if the box has been opened?",
    "Cancel my subscription.",
    "The blue one is sold out; will it come back before the holidays?",
    "Which cable do I need to connect the old printer to the new laptop?",
    "Delivery was two days late and nobody at the hotline could say why.",
    "What are your opening hours on public holidays?",
    "The invoice shows the wrong company name; we need a corrected one for our tax return.",
    "It works now",
    "How long does the battery last when the screen is always on?",
    "I would like to speak to a person.",
    "Two of the six glasses arrived broken. The photographs are attached.",
    "Does the warranty cover water damage?",
    "Please add a dark mode; the white background hurts my eyes at night.",
    "Why was my payment declined although there is enough money on the card?",
    "The manual says to hold the button for five seconds, but nothing happens even after thirty.",
    "Can two people share one license?",
    "Your update deleted all my saved searches. It took me months to collect them, and I cannot"
    " find a way to bring them back. Is there a backup on your side?",
    "Great service, thank you!",
    "I moved abroad. Can I keep my number, and what will calls cost me from there?",
    "Error 0x80070057 when I try to sync the calendar",
    "Do you ship to Iceland?",
    "The coupon code is not accepted: it says that it expired, while the mail says end of June.",
    "How can I export all my data before I close the account?",
    "Sound is fine over the speakers, but there is none over the headphones.",
)
