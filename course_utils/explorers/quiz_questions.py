"""The quizzes of lectures 6 and A2: what each choice gets wrong or right, and where the course
says so.
"""

from .quiz import QuizQuestion

L1, L2, L3, L4, L5 = (
    f"{name}.ipynb"
    for name in (
        "01_targeted_explanations",
        "02_gradcam",
        "03_counterfactual_cam",
        "04_contrast_cam",
        "05_image_quality",
    )
)

QUESTIONS = [
    QuizQuestion(
        "What makes an explanation targeted?",
        {
            "It uses gradients.": "Guided backpropagation uses gradients too, and answers no "
            "question.",
            "It answers a contextual question about the image.": "Someone asks; the map answers.",
            "It is computed for one image only.": "So are saliency maps that nobody asked for.",
        },
        "It answers a contextual question about the image.",
        ("Lecture 1", L1),
    ),
    QuizQuestion(
        "What does alpha for channel k say in Grad-CAM?",
        {
            "How active the channel is on this photo.": "That is A. Alpha is made of gradients.",
            "Where in the photo the channel is active.": "Alpha is one number; the places are in "
            "A.",
            "How much the logit rises with the channel, averaged over the map.": "The mean.",
        },
        "How much the logit rises with the channel, averaged over the map.",
        ("Lecture 2, step 5", L2),
    ),
    QuizQuestion(
        "A map from an early layer is finer. Why not use it?",
        {
            "It takes longer to compute.": "Hardly; and speed is not the point.",
            "In the grid pointing game it is near chance.": "Its maps change with the question, "
            "but to wrong places.",
            "It has no gradient.": "Every layer on the way to the logit has one.",
        },
        "In the grid pointing game it is near chance.",
        ("Lecture 2, which layer", L2),
    ),
    QuizQuestion(
        "Counterfactual-CAM of the predicted class is empty on a photo. What does that mean?",
        {
            "Something went wrong.": "An empty map is an answer too, and the course says it in "
            "words.",
            "No place speaks against the class at this layer.": "All evidence is positive: "
            "ReLU(-S) = 0.",
            "The class is certain.": "p depends on the other classes as well; the map does not.",
        },
        "No place speaks against the class at this layer.",
        ("Lecture 3", L3),
    ),
    QuizQuestion(
        "You replace P in 'Why P, rather than Q?' and "
        "keep Q, with the cross-entropy loss. The map ...",
        {
            "changes completely.": "P does not occur in CE(y, Q).",
            "stays the same.": "It asks 'why not Q?' against the whole posterior.",
            "changes its sign.": "Nothing in the loss has changed, so nothing in the map does.",
        },
        "stays the same.",
        ("Lecture 4, two losses", L4),
    ),
    QuizQuestion(
        "Where the network is sure of P, why does a far Q give about the same map as Grad-CAM?",
        {
            "Q's map is small, and the posterior's evidence lies where P's does.": "Both measured.",
            "The two classes share features.": "Far classes share little; that is why little is "
            "removed.",
            "The gradient vanishes.": "It does not vanish: it is nearly the one of P.",
        },
        "Q's map is small, and the posterior's evidence lies where P's does.",
        ("Lecture 4, far Q", L4),
    ),
    QuizQuestion(
        "Contrast-CAM with Q = P and the logit difference shows ...",
        {
            "why P is not certain.": "That is the cross-entropy with Q = P.",
            "Grad-CAM.": "That would need a map of Q that is 0 everywhere.",
            "nothing: it is zero everywhere.": "S^P - S^P = 0.",
        },
        "nothing: it is zero everywhere.",
        ("Lecture 4, Q = P", L4),
    ),
    QuizQuestion(
        "All logits are multiplied by 10. Which normalised map changes?",
        {
            "Grad-CAM.": "The factor is removed by the division by the maximum.",
            "Contrast-CAM with cross-entropy.": "The softmax changes, and with it the weights of "
            "the classes.",
            "Contrast-CAM with the logit difference.": "It is linear in the logits, as Grad-CAM "
            "is.",
        },
        "Contrast-CAM with cross-entropy.",
        ("Lecture 4, eight true statements", L4),
    ),
    QuizQuestion(
        "A deletion test removes the highlighted region "
        "and the logit falls. What must you compare with?",
        {
            "The logit of another network.": "That tells you about the networks.",
            "The same test on one random region of the same size.": "In lecture 3 that let a map "
            "look "
            "good which the next control refuted.",
            "Regions of the same size, at random and where the map shows nothing.": "Any hole may "
            "hurt. The map must do better than both.",
            "Nothing: the fall proves the map right.": "Any hole may hurt; without a control it "
            "is a "
            "story.",
        },
        "Regions of the same size, at random and where the map shows nothing.",
        ("Lecture 3, the claim tested", L3),
    ),
    QuizQuestion(
        "How many forward passes do ten contrasts on one photo need?",
        {
            "Ten.": "The network's answer to the photo does not depend on the question.",
            "Eleven.": "Neither one for each question, nor one more for the photo.",
            "One.": "Each question is a new vector on the same output.",
        },
        "One.",
        ("Lecture 6, the cost, counted", "#2.-What-you-have-seen-measured"),
    ),
    QuizQuestion(
        "A photo is scored 0.58. 'Why not 1?' and 'why "
        "not 0.75?' are asked of the whole photo at once.",
        {
            "The first map shows more faults than the second.": "q is only a factor, and is "
            "divided away.",
            "Both maps are the same picture.": "S(q) = 2 (s - q) S^s: one factor for all places.",
            "The second map is the negative of the first.": "Both q lie on the same side of the "
            "score.",
        },
        "Both maps are the same picture.",
        ("Lecture 5, the trap", L5),
    ),
]

OWN_NETWORK = [
    QuizQuestion(
        "A network with one logit says 'yes'. You ask 'why yes?' and 'why yes, rather than no?'",
        {
            "The second map is sharper.": "Sharpness does not come from the question.",
            "It is one map, up to a factor.": "Yes and no are two ends of one logit.",
            "The second map shows what speaks for no.": "That is the negative part of the first.",
        },
        "It is one map, up to a factor.",
        ("Lecture A2, a network of your own", "#1.-A-network-of-your-own"),
    ),
    QuizQuestion(
        "Your network is right on every test picture. Its maps point at a corner. What now?",
        {
            "Nothing: it is right.": "On pictures that share the corner with the training set.",
            "Crop the corner out of the picture that is shown.": "The network still reads it.",
            "Change the corner, and see whether the answers change.": "A map names a suspect; the "
            "intervention tells whether the network relies on it.",
        },
        "Change the corner, and see whether the answers change.",
        ("Lecture A2, the shortcut", "#3.-The-shortcut"),
    ),
    QuizQuestion(
        "A map hits the right part on 21 of 21 photos. What may you write?",
        {
            "It always hits the part.": "21 cases leave room for failures that you have not met.",
            "It hit the part in 21 of 21; with 95 % confidence that is above 84 %.": "The count, "
            "and an interval that says what the count allows.",
            "Nothing before a thousand photos.": "Twenty known answers say a lot, if you say "
            "twenty.",
        },
        "It hit the part in 21 of 21; with 95 % confidence that is above 84 %.",
        ("Lecture A2, the checklist", "#5.-Before-you-show-a-map-to-anybody"),
    ),
]
