import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** What a topic keeps for consumers that come later. */
final class Retroactive extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry topic="Count.>"><subscriptionRecoveryPolicy>
                  <fixedCountSubscriptionRecoveryPolicy maximumSize="3"/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="VirtualTopic.>"><subscriptionRecoveryPolicy>
                  <fixedCountSubscriptionRecoveryPolicy maximumSize="3"/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="Always.>" alwaysRetroactive="true"><subscriptionRecoveryPolicy>
                  <fixedCountSubscriptionRecoveryPolicy maximumSize="3"/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="Sized.>"><subscriptionRecoveryPolicy>
                  <fixedSizedSubscriptionRecoveryPolicy maximumSize="5000"/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="Timed.>"><subscriptionRecoveryPolicy>
                  <timedSubscriptionRecoveryPolicy recoverDuration="1500"/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="Last.>"><subscriptionRecoveryPolicy>
                  <lastImageSubscriptionRecoveryPolicy/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="None.>"><subscriptionRecoveryPolicy>
                  <noSubscriptionRecoveryPolicy/></subscriptionRecoveryPolicy></policyEntry>
                <policyEntry topic="Retained.>"><subscriptionRecoveryPolicy>
                  <retainedMessageSubscriptionRecoveryPolicy><wrapped><noSubscriptionRecoveryPolicy/></wrapped>
                  </retainedMessageSubscriptionRecoveryPolicy></subscriptionRecoveryPolicy></policyEntry>
                """);
    }

    private ActiveMQTopic t(String kind) {
        return new ActiveMQTopic(kind + "." + name());
    }

    private void sent(ActiveMQTopic topic, int count) throws Exception {
        sendNumbers(auto(connect()), topic, count);
    }

    private static final String LATE = "consumer.retroactive=true";

    private MessageConsumer late(ActiveMQTopic topic) throws Exception {
        return auto(connect()).createConsumer(option(topic, LATE));
    }

    @Test
    void a_fixed_count_of_the_newest_is_kept() throws Exception {
        sent(t("Count"), 5);
        equal(List.of("2", "3", "4"), takeAll(late(t("Count"))));
    }

    @Test
    void what_was_kept_comes_before_what_comes_next() throws Exception {
        sent(t("Count"), 2);
        MessageConsumer late = late(t("Count"));
        send(auto(connect()), t("Count"), "next");
        equal(List.of("0", "1", "next"), takeTexts(late, 3));
        nothing(late);
    }

    @Test
    void a_consumer_that_does_not_ask_gets_nothing() throws Exception {
        sent(t("Count"), 5);
        nothing(auto(connect()).createConsumer(t("Count")));
    }

    @Test
    void a_policy_may_ask_for_all_consumers() throws Exception {
        sent(t("Always"), 5);
        equal(List.of("2", "3", "4"), takeAll(auto(connect()).createConsumer(t("Always"))));
    }

    @Test
    void only_what_the_selector_wants_is_recovered() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t("Count"));
        for (int n = 0; n < 3; n++) {
            TextMessage message = session.createTextMessage("" + n);
            message.setIntProperty("n", n);
            producer.send(message);
        }
        equal(List.of("1"), takeAll(auto(connect()).createConsumer(option(t("Count"), LATE), "n = 1")));
    }

    @Test
    void a_wildcard_consumer_recovers_of_every_topic() throws Exception {
        send(auto(connect()), new ActiveMQTopic("Count." + name() + ".a"), "a");
        send(auto(connect()), new ActiveMQTopic("Count." + name() + ".b"), "b");
        List<String> got = takeAll(late(new ActiveMQTopic("Count." + name() + ".*")));
        equal(List.of("a", "b"), got.stream().sorted().toList());
    }

    @Test
    void a_fixed_size_is_kept() throws Exception {
        sent(t("Sized"), 20);
        List<String> got = takeAll(late(t("Sized")));
        check(!got.isEmpty() && got.size() < 20, "got " + got);
        equal(numbers(20 - got.size(), 20), got);
    }

    @Test
    void what_is_older_than_the_time_is_not_recovered() throws Exception {
        send(auto(connect()), t("Timed"), "old");
        TimeUnit.MILLISECONDS.sleep(3500);
        send(auto(connect()), t("Timed"), "new");
        equal(List.of("new"), takeAll(late(t("Timed"))));
    }

    @Test
    void only_the_last_image_is_kept() throws Exception {
        sent(t("Last"), 5);
        equal(List.of("4"), takeAll(late(t("Last"))));
    }

    @Test
    void without_a_policy_nothing_is_kept() throws Exception {
        sent(t("None"), 5);
        nothing(late(t("None")));
        sent(topic(), 5);
        nothing(late(topic()));
    }

    @Test
    void the_last_message_that_asks_to_be_retained_is_kept() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t("Retained"));
        for (String text : List.of("plain", "retained", "later")) {
            TextMessage message = session.createTextMessage(text);
            if (text.equals("retained")) {
                message.setBooleanProperty("ActiveMQ.Retain", true);
            }
            producer.send(message);
        }
        TextMessage got = (TextMessage) take(late(t("Retained")));
        equal("retained", got.getText());
        check(got.getBooleanProperty("ActiveMQ.Retained"), "not marked");
    }

    @Test
    void a_durable_subscriber_recovers_when_it_comes_first() throws Exception {
        sent(t("Count"), 5);
        org.apache.activemq.ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name());
        connection.start();
        equal(List.of("2", "3", "4"), takeAll(auto(connection).createDurableSubscriber(option(t("Count"), LATE), "s")));
    }

    @Test
    void the_first_consumer_of_a_virtual_topics_queue_recovers() throws Exception {
        sent(t("VirtualTopic"), 5);
        ActiveMQQueue queue = new ActiveMQQueue("Consumer.A.VirtualTopic." + name());
        equal(List.of("2", "3", "4"), takeAll(auto(connect()).createConsumer(option(queue, LATE))));
    }
}
